//! Notes and keys: the published examples, and everything that is not one.

use proptest::prelude::*;

use super::*;

/// The key and the note of the tests of Go's `note` package (golang.org/x/mod/sumdb/note).
const SIGNER: &str =
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const VERIFIER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const TEXT: &str = "If you think cryptography is the answer to your problem,\n\
    then you don't know what your problem is.\n";
const SIGNATURE: &str = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn verifier() -> VerifierKey {
    VERIFIER.parse().unwrap()
}

fn signer() -> SigningKey {
    SigningKey::parse(SIGNER).unwrap()
}

fn parse(note: &str) -> Result<SignedNote, NoteError> {
    SignedNote::parse(note.as_bytes())
}

#[test]
fn the_note_of_the_specification_verifies() {
    let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let note = "This is an example message.\n\n\u{2014} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    let note = parse(note).unwrap();
    let keys = [key.parse().unwrap()];
    assert_eq!(note.verify(&keys).unwrap(), [&keys[0]]);
    assert_eq!(note.text(), "This is an example message.\n");
}

#[test]
fn the_note_of_another_implementation_is_made_here_byte_for_byte() {
    let note = SignedNote::sign(TEXT, &[&signer()]).unwrap();
    assert_eq!(note.to_string(), format!("{TEXT}\n{SIGNATURE}"));
    assert_eq!(signer().verifier().to_string(), VERIFIER);
    assert_eq!(&**signer().to_secret_text(), SIGNER);
}

#[test]
fn several_sign_and_strangers_are_passed_over() {
    let (one, two) = (
        SigningKey::from_seed("one", &[1; 32]).unwrap(),
        SigningKey::from_seed("two", &[2; 32]).unwrap(),
    );
    let note = SignedNote::sign(TEXT, &[&one, &two]).unwrap().to_string();
    // A signature of a kind that is not known here, by somebody who is not known here.
    let note = parse(&format!("{note}\u{2014} witness.example/w AAAABAE=\n")).unwrap();
    let keys = [two.verifier().clone(), one.verifier().clone(), verifier()];
    let verified = note.verify(&keys).unwrap();
    assert_eq!(verified, [&keys[1], &keys[0]]);
    assert_eq!(note.signatures().len(), 3);
    let error = note.verify(&[verifier()]).unwrap_err();
    assert!(matches!(error, NoteError::Unknown { .. }));
    assert!(
        error.to_string().contains("witness.example/w+00000004"),
        "{error}"
    );
    assert!(note.verify(&[]).is_err());
}

#[test]
fn a_wrong_signature_by_a_known_key_spoils_the_note() {
    let one = SigningKey::from_seed("one", &[1; 32]).unwrap();
    let good = SignedNote::sign(TEXT, &[&one, &signer()]).unwrap();
    let other = SignedNote::sign("Other.\n", &[&signer()]).unwrap();
    let mut mixed = good.clone();
    mixed.signatures[1] = other.signatures[0].clone();
    let keys = [one.verifier().clone(), verifier()];
    let name = "PeterNeumann".to_owned();
    assert_eq!(mixed.verify(&keys), Err(NoteError::Wrong { name }));
    // Who does not know that key can't tell.
    assert!(mixed.verify(&keys[..1]).is_ok());
}

#[test]
fn the_text_may_have_empty_lines() {
    let text = "first\n\nsecond\n";
    let note = SignedNote::sign(text, &[&signer()]).unwrap();
    let again = parse(&note.to_string()).unwrap();
    assert_eq!(again.text(), text);
    assert!(again.verify(&[verifier()]).is_ok());
}

#[test]
fn what_is_no_note_is_refused_with_the_reason() {
    let good = format!("{TEXT}\n{SIGNATURE}");
    let cases: [(String, NoteError); 13] = [
        (TEXT.to_owned(), NoteError::NoSignatures),
        (format!("{TEXT}\n"), NoteError::NoSignatures),
        (String::new(), NoteError::NoSignatures),
        (good.trim_end().to_owned(), NoteError::NoSignatures),
        (
            good.replace('\u{2014}', "-"),
            NoteError::Signature { line: 4 },
        ),
        (format!("{good}rest\n"), NoteError::Signature { line: 5 }),
        (
            good.replace("know", "kno\tw"),
            NoteError::Control { line: 2 },
        ),
        (
            good.replace('\n', "\r\n"),
            NoteError::CarriageReturn { line: 1 },
        ),
        (
            good.replace("know", "kno\rw"),
            NoteError::Control { line: 2 },
        ),
        (format!("{good}\n"), NoteError::EmptyEnd),
        (format!("{good}\n\n\n"), NoteError::EmptyEnd),
        (format!("{TEXT}\n\n"), NoteError::NoSignatures),
        (good.replace("AM=", "AN="), NoteError::Signature { line: 4 }),
    ];
    for (note, error) in cases {
        assert_eq!(parse(&note), Err(error), "{note:?}");
    }
    let mut bytes = good.clone().into_bytes();
    bytes[3] = 0xff;
    assert_eq!(
        SignedNote::parse(&bytes),
        Err(NoteError::Encoding { offset: 3 })
    );
    for text in ["", "no newline", "tab\t\n"] {
        assert!(SignedNote::sign(text, &[&signer()]).is_err(), "{text:?}");
    }
    assert_eq!(SignedNote::sign(TEXT, &[]), Err(NoteError::NoSignatures));
}

#[test]
fn a_note_has_limits() {
    let many = SIGNATURE.repeat(SignedNote::MAX_SIGNATURES);
    assert!(parse(&format!("{TEXT}\n{many}")).is_ok());
    let more = parse(&format!("{TEXT}\n{many}{SIGNATURE}"));
    assert_eq!(more, Err(NoteError::TooManySignatures));
    let bytes = SignedNote::MAX_BYTES + 1;
    let large = SignedNote::parse(&vec![b'a'; bytes]);
    assert_eq!(large, Err(NoteError::TooLarge { bytes }));
    let large = SignedNote::sign(format!("{}\n", "a".repeat(bytes)), &[&signer()]);
    assert!(matches!(large, Err(NoteError::TooLarge { .. })));
}

#[test]
fn what_is_no_key_is_refused_with_the_reason() {
    let refused = |text: &str| text.parse::<VerifierKey>().unwrap_err();
    for text in [
        "",
        "a",
        "a+b",
        "PeterNeumann+c74f20a3",
        "a+c74f20a3+",
        "x+c74f20a3+*",
    ] {
        assert_eq!(refused(text), KeyError::NotAVerifier, "{text}");
    }
    assert_eq!(refused(SIGNER), KeyError::Signs);
    let upper = VERIFIER.replace("c74f20a3", "C74F20A3");
    assert_eq!(refused(&upper), KeyError::NotAVerifier);
    assert!(matches!(
        refused(&VERIFIER.replace("c7", "c8")),
        KeyError::Id { .. }
    ));
    assert!(matches!(
        refused(&VERIFIER.replace("Peter", "Paul")),
        KeyError::Id { .. }
    ));
    assert!(matches!(
        refused(&VERIFIER.replace("+ARpc", "+BBpc")),
        KeyError::Kind { kind: 4, .. }
    ));
    assert!(matches!(
        refused(&VERIFIER.replace("Peter", "")),
        KeyError::Id { .. }
    ));
    assert!(matches!(
        refused(&VERIFIER.replace("PeterNeumann", "")),
        KeyError::Name { .. }
    ));
    assert!(matches!(
        refused(&VERIFIER.replace("Peter", "Peter ")),
        KeyError::Name { .. }
    ));
    // The identity, under which anybody's signature would verify.
    let weak = format!(
        "a+00000000+{}",
        BASE64.encode(&[&[1, 1][..], &[0; 31]].concat())
    );
    assert!(matches!(refused(&weak), KeyError::Weak { .. }));
    for text in [VERIFIER, "", &SIGNER[..30]] {
        assert_eq!(
            SigningKey::parse(text).unwrap_err(),
            KeyError::NotASigner,
            "{text}"
        );
    }
    for name in ["", "a b", "a+b", "a\u{a0}b", "a\nb", &"x".repeat(256)] {
        assert!(SigningKey::generate(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_secret_is_never_shown() {
    let secret = "AYEKFALVFGyNhPJEMzD1QIDr";
    assert_eq!(
        format!("{:?}", signer()),
        "SigningKey(PeterNeumann+c74f20a3)"
    );
    for broken in [
        SIGNER.replace("c74", "c75"),
        SIGNER.replace("Peter", "P "),
        format!("{SIGNER}A"),
    ] {
        let error = SigningKey::parse(&broken).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
}

#[test]
fn every_new_key_is_another_one() {
    let new = || SigningKey::generate("a").unwrap().verifier().to_string();
    assert_ne!(new(), new());
}

#[test]
fn a_key_file_is_its_owners_alone_and_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.key");
    write_signing_key(&path, &signer()).unwrap();
    assert_eq!(read_signing_key(&path).unwrap().verifier(), &verifier());
    assert_eq!(read_verifier_key(&path).unwrap(), verifier());
    let other = SigningKey::generate("other").unwrap();
    let error = write_signing_key(&path, &other).unwrap_err();
    assert!(matches!(error, KeyFileError::Exists { .. }));
    assert_eq!(read_signing_key(&path).unwrap().verifier(), &verifier());
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        format!("{SIGNER}\n")
    );
}

#[cfg(unix)]
#[test]
fn a_key_file_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.key");
    write_signing_key(&path, &signer()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    for mode in [0o640, 0o604, 0o620, 0o610] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let error = read_signing_key(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Exposed { .. }), "{error}");
        assert!(read_verifier_key(&path).is_err());
    }
    // What verifies is for everybody.
    let public = directory.path().join("log.pub");
    std::fs::write(&public, VERIFIER).unwrap();
    std::fs::set_permissions(&public, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(read_verifier_key(&public).unwrap(), verifier());
}

#[test]
fn a_file_without_a_key_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let missing = read_signing_key(&path).unwrap_err();
    assert!(matches!(missing, KeyFileError::Read { .. }));
    for bytes in [&b""[..], b"hello", b"\xff", &[b'a'; 10_000]] {
        std::fs::write(&path, bytes).unwrap();
        let error = read_signing_key(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Key { .. }), "{error}");
        let error = read_verifier_key(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Key { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn notes_are_read_as_they_are_written(text in "[^\\x00-\\x1f]{0,40}(\n[^\\x00-\\x1f]{0,20}){0,4}\n") {
        let note = SignedNote::sign(text.clone(), &[&signer()]).unwrap();
        let again = SignedNote::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&again, &note);
        prop_assert_eq!(again.text(), text);
        prop_assert!(again.verify(&[verifier()]).is_ok());
    }

    #[test]
    fn nothing_else_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
        let _ = SignedNote::parse(&bytes);
        let _ = SignedNote::parse(format!("{text}\n\n\u{2014} {text}\n").as_bytes());
        let _ = text.parse::<VerifierKey>();
        let _ = SigningKey::parse(&format!("PRIVATE+KEY+{text}"));
    }

    #[test]
    fn no_altered_note_verifies(place in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut note = format!("{TEXT}\n{SIGNATURE}").into_bytes();
        let place = place.index(note.len());
        note[place] ^= 1 << bit;
        if let Ok(note) = SignedNote::parse(&note) {
            prop_assert!(note.verify(&[verifier()]).is_err());
        }
    }
}
