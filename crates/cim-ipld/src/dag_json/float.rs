//! The one spelling of a float.
//!
//! It is the number as ECMA-262 writes it (`Number::toString`, with its note 2), which RFC 8785 uses
//! for canonical JSON too: as few digits as read back as the same number; of several such texts the
//! closest one, and of two equally close ones the one whose last digit is even. A float without point
//! and exponent would read as an integer, so it gets `.0`; zero keeps its sign.

use super::JsonFault;

/// The text of a finite float.
pub(super) fn float_text(float: f64) -> Result<String, JsonFault> {
    if !float.is_finite() {
        return Err(JsonFault::Float);
    }
    let text = shortest(float);
    let (mantissa, exponent) = text.split_once('e').ok_or(JsonFault::Float)?;
    let exponent: i32 = exponent.parse().map_err(|_| JsonFault::Float)?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    // How many digits stand before the point.
    let point = exponent + 1;
    Ok(match usize::try_from(point) {
        Ok(point @ 1..=21) if point >= digits.len() => {
            format!("{sign}{digits}{:0<1$}.0", "", point - digits.len())
        }
        Ok(point @ 1..=21) => {
            let (before, after) = digits.split_at(point);
            format!("{sign}{before}.{after}")
        }
        _ if (-5..=0).contains(&point) => {
            let zeros = "0".repeat(point.unsigned_abs() as usize);
            format!("{sign}0.{zeros}{digits}")
        }
        _ if exponent > 0 => format!("{sign}{mantissa}e+{exponent}"),
        _ => format!("{sign}{mantissa}e{exponent}"),
    })
}

/// The digits, such as `-8.940696716308594e-8`: one, the others after a point, the exponent.
fn shortest(float: f64) -> String {
    // As few as possible, but of two equally close texts the larger one.
    let few = format!("{float:e}");
    let digits = few
        .bytes()
        .take_while(|&byte| byte != b'e')
        .filter(u8::is_ascii_digit)
        .count();
    // The closest text of as many digits, halves to even. Next to a power of two that can be another
    // number.
    let closest = format!("{float:.*e}", digits.saturating_sub(1));
    if closest.parse() == Ok(float) {
        closest
    } else {
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_point_goes_where_ecmascript_puts_it() {
        // The first column is what JavaScript prints, apart from `.0` and the sign of zero.
        for (text, float) in [
            ("0.0", 0.0),
            ("-0.0", -0.0),
            ("1.0", 1.0),
            ("-1.5", -1.5),
            ("123.456", 123.456),
            ("0.000001", 1e-6),
            ("0.0000012", 1.2e-6),
            ("1e-7", 1e-7),
            ("1.2e-7", 1.2e-7),
            ("9007199254740992.0", 9_007_199_254_740_992.0),
            ("100000000000000000000.0", 1e20),
            ("123456789012345680000.0", 123_456_789_012_345_680_000.0),
            ("1e+21", 1e21),
            ("1.5e+21", 1.5e21),
            ("1.7976931348623157e+308", f64::MAX),
            ("5e-324", 5e-324),
            ("2.2250738585072014e-308", f64::MIN_POSITIVE),
            ("333333333.3333333", 333_333_333.333_333_3),
            // Halfway between two texts, and next to powers of two.
            ("684908567976417.2", 5_479_268_543_811_338.0 / 8.0),
            ("684908567976417.8", 5_479_268_543_811_342.0 / 8.0),
            ("78610478910504.62", 628_883_831_284_037.0 / 8.0),
            ("9.5367431640625e-7", 0.5_f64.powi(20)),
            ("8.673617379884035e-19", 0.5_f64.powi(60)),
            ("9.671406556917033e+24", 2_f64.powi(83)),
            ("2e-44", 2e-44),
        ] {
            assert_eq!(float_text(float).as_deref(), Ok(text));
        }
        assert_eq!(float_text(f64::NAN), Err(JsonFault::Float));
        assert_eq!(float_text(f64::NEG_INFINITY), Err(JsonFault::Float));
    }

    proptest! {
        #[test]
        fn a_float_reads_back_to_the_same_bits(bits: u64, small in -1000..1000_i32) {
            for float in [f64::from_bits(bits), f64::from(small) / 8.0, f64::from(small) * 1e18] {
                if let Ok(text) = float_text(float) {
                    prop_assert!(text.contains(['.', 'e']));
                    prop_assert!(text.len() <= 25, "{text}");
                    prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(float.to_bits()));
                }
            }
        }
    }
}
