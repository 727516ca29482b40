//! What a request asks for, as rules of access judge it: a method, and the path of a file
//! or of an entity.

use common::access::{Area, Judge, Refusal};
use http::request;

use crate::entities;
use crate::path::FilePath;

/// Asks whether the client may do this. A target that names neither is answered without a look at
/// the files, and by everybody's rules.
pub(crate) fn judge(head: &request::Parts, judge: &Judge<'_>) -> Result<(), Refusal> {
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
