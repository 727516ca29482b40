//! How the access rules judge a request: by its method and by the path of a file or of an
//! entity.

use common::access::{Area, Forbidden, Judge};
use http::request;

use crate::entities;
use crate::path::FilePath;

/// Checks that the rules allow the client to do this. A target that names neither a file nor an
/// entity is allowed: it is answered without access to the files.
pub(crate) fn judge(head: &request::Parts, judge: &Judge<'_>) -> Result<(), Forbidden> {
    if let Some(judged) = entities::judge(head, judge) {
        return judged;
    }
    match FilePath::parse(head.uri.path()) {
        Ok(path) => judge.may(
            Area { is_within: false, ..entities::AREA },
            head.method.as_str(),
            path.as_str(),
        ),
        Err(_) => Ok(()),
    }
}
