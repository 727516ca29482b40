//! The arguments of `tedge http`, and the request that they describe.

use http::uri::InvalidUri;
use http::{HeaderValue, Method, Request, Uri, header};

use super::upload::{Gate, RequestContent};
use crate::cli::command_line::{CommandLine, Exit, usage, utf8};
use crate::http::Body;

/// The arguments of `tedge http`.
pub(super) struct Invocation {
    pub(super) method: Method,
    /// The path as it was typed.
    pub(super) path: String,
    pub(super) output: Option<String>,
    content: RequestContent,
    content_type: Option<HeaderValue>,
    accept_type: Option<HeaderValue>,
}

impl Invocation {
    pub(super) fn parse(line: &CommandLine) -> Result<Self, Exit> {
        let method = match line.verb {
            "get" => Method::GET,
            "delete" => Method::DELETE,
            "put" => Method::PUT,
            "post" => Method::POST,
            _ => Method::PATCH,
        };
        let text = |option| line.value(option).map(utf8).transpose();
        let field = |option| -> Result<_, Exit> {
            let Some(text) = text(option)? else { return Ok(None) };
            let value = HeaderValue::from_str(text);
            value.map(Some).map_err(|_| usage(format!("'{text}' is not a media type")))
        };
        let content = match (line.text(1)?, text("--data")?, text("--file")?) {
            (None, None, None) => RequestContent::default(),
            (Some(data), None, None) | (None, Some(data), None) => RequestContent::data(data),
            (None, None, Some(file)) => RequestContent::file(file)?,
            _ => return Err(usage("the content is given twice".to_owned())),
        };
        Ok(Self {
            method,
            path: line.text(0)?.unwrap_or_default().to_owned(),
            output: text("--output")?.map(str::to_owned),
            content,
            content_type: field("--content-type")?,
            accept_type: field("--accept-type")?,
        })
    }

    /// The request for an encoded path. Over plain HTTP, its content waits for `100 Continue`.
    pub(super) fn request(&self, path: &str, is_secure: bool) -> Result<Request<Body>, InvalidUri> {
        let mut request = Request::new(Body::Empty);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::try_from(path)?;
        let fields = request.headers_mut();
        let json =
            || path.starts_with("/c8y").then(|| HeaderValue::from_static("application/json"));
        if let Some(accept) = self.accept_type.clone().or_else(json) {
            fields.insert(header::ACCEPT, accept);
        }
        if self.content.is_empty() {
            if !matches!(self.method, Method::GET | Method::DELETE) {
                fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            return Ok(request);
        }
        let media_type = self.content_type.clone().unwrap_or_else(|| self.content.media_type());
        fields.insert(header::CONTENT_TYPE, media_type);
        let gate = if is_secure {
            Gate::default()
        } else {
            fields.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
            Gate::closed(&mut request)
        };
        *request.body_mut() = self.content.body(gate);
        Ok(request)
    }
}

/// Percent-encodes what a URI cannot contain; what is encoded already stays as it is.
pub(super) fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'"'
            | b'#'
            | b'<'
            | b'>'
            | b'\\'
            | b'^'
            | b'`'
            | b'{'
            | b'|'
            | b'}'
            | ..=b' '
            | 0x7f.. => {
                escaped.push_str(&format!("%{byte:02X}"));
            }
            _ => escaped.push(char::from(byte)),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_encoded_where_it_must_be_and_nowhere_else() {
        assert_eq!(escaped("/te/v1/files/a b/ü%20?q=1;2"), "/te/v1/files/a%20b/%C3%BC%20?q=1;2");
    }
}
