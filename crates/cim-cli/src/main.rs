//! The program `cim`. Everything it does is in the library beside it, so that tests can run
//! commands against a store of their own.

use cim_cli::{Environment, Interrupt, Ui};

fn main() -> std::process::ExitCode {
    let mut ui = Ui::stdio();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return cim_cli::report_start_failure(&mut ui, error).into(),
    };
    let code = runtime.block_on(async {
        let environment = Environment::system(Interrupt::on_ctrl_c());
        cim_cli::run(std::env::args_os(), &mut ui, &environment).await
    });
    // Don't wait for threads that still read what nobody needs any more.
    runtime.shutdown_background();
    code.into()
}
