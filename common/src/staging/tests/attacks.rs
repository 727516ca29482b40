//! Whoever writes the settings, or a directory below them, and wants what is root's.

use super::*;

#[test]
fn a_password_file_gives_one_line_and_no_other_secret() {
    let dir = configured();
    let long = "x".repeat(1024);
    for (text, password) in [
        ("pass wörd\n", Some("pass wörd")),
        ("password", Some("password")),
        ("password\r\n\n", Some("password")),
        (long.as_str(), Some(long.as_str())),
        ("", Some("")),
        ("pass\nword", None),
        ("pass\tword", None),
        ("pass\0word", None),
        (&format!("{long}x"), None),
    ] {
        dir.write("password", text);
        stage(&dir, &[("password", PathTo::Password)]);
        match password {
            Some(password) => {
                assert_eq!(copied(&dir, Copy::Content, "password").unwrap(), password.as_bytes());
            }
            None => assert!(reason(&dir, "password").contains("one line"), "{text}"),
        }
    }
    dir.write("password", [0xff, 0xfe]);
    for name in ["password", "ca.key"] {
        stage(&dir, &[(name, PathTo::Password)]);
        assert!(reason(&dir, name).contains("one line"), "{name}");
    }
}

#[test]
fn a_file_of_credentials_gives_user_name_and_password_alone() {
    let dir = configured();
    let text = "# s3cret\n[c8y]\nusername = \"me\"\npassword = 'p\"ä'\nother = \"s3cret\"\n[aws]\nkey = \"s3cret\"\n";
    dir.write("credentials", text);
    stage(&dir, &[("credentials", PathTo::Credentials)]);
    let copy = String::from_utf8(copied(&dir, Copy::Content, "credentials").unwrap()).unwrap();
    assert!(!copy.contains("s3cret") && copy.contains("me"), "{copy}");
    let read = |bytes: &[u8]| {
        let read = crate::staging::credentials(bytes).unwrap();
        (read.username, read.password)
    };
    assert_eq!(read(copy.as_bytes()), read(text.as_bytes()));
    for odd in
        ["root:$y$s3cret:1:::\n", "[c8y]\nusername = \"s3cret\"\n", "[aws]\nkey = \"s3cret\"\n"]
    {
        dir.write("credentials", odd);
        stage(&dir, &[("credentials", PathTo::Credentials)]);
        let said = crate::staging::credentials(odd.as_bytes()).err().unwrap().to_string();
        assert_eq!(reason(&dir, "credentials"), said);
        assert!(!said.contains("s3cret"), "{said}");
    }
}
