//! Settings that are paths, by what the path leads to.

use std::path::PathBuf;

use super::column::{Column, PathTo, Shape};

/// A column of paths, by what they lead to.
macro_rules! path {
    ($(#[$doc:meta])+ $column:ident to $path_to:ident) => {
        $(#[$doc])+
        #[derive(Debug)]
        pub enum $column {}

        impl Column for $column {
            type Value = PathBuf;

            const NAME: &'static str = "path";
            const EXPECTED: &'static str = "a path";
            const SHAPE: Shape = Shape::Path;
            const PATH_TO: Option<PathTo> = Some(PathTo::$path_to);

            fn parse(text: &str) -> Option<PathBuf> {
                (!text.is_empty() && !text.contains('\0')).then(|| PathBuf::from(text))
            }
        }
    };
}

path!(
    /// The path of a certificate.
    CertificatePath to Certificate
);
path!(
    /// The path of a private key.
    KeyPath to PrivateKey
);
path!(
    /// The path of CA certificates.
    CaPath to Authorities
);
path!(
    /// The path of revocation lists.
    CrlPath to RevocationLists
);
path!(
    /// The path of a file with a password.
    PasswordPath to Password
);
path!(
    /// The path of a directory for data.
    DataPath to Data
);
