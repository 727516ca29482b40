//! The section of `tedge.toml(5)` about the rules of access.

use super::mdoc::Page;

/// Its text.
pub(crate) fn section(page: &mut Page) {
    page.section("RULES OF ACCESS");
    page.text(
        "The files of `http.access_path` and `c8y.proxy.access_path` hold rules in TOML, each below \
         a line `[[rule]]`. Each key takes a string or a list of strings. A rule matches a request \
         if all its keys match. The first rule that matches allows it. What no rule allows is answered \
         with 403.",
    );
    let key = |key: &str, meaning: &str| (format!("Cm {key}"), meaning.to_owned());
    page.list([
        key(
            "who",
            "Names of clients; `*` is any. They are the DNS names, URIs and email addresses in the \
             client certificate or, if it has none, its common name. A rule \
             without this key matches every client, also one without a certificate.",
        ),
        key("from", "Addresses and networks of clients, such as 192.168.1.0/24. Default: all."),
        key("may", "Required: read (GET, HEAD), write (PUT, DELETE, POST, PATCH), or methods in capitals."),
        key(
            "below",
            "Directories, without the prefix /te/v1/files, /tedge/file-transfer or /c8y. \
             `{who}` in them is the name of the client.",
        ),
        key(
            "exactly",
            "Single paths. A rule needs `below`, `exactly` or both; with both, one matching path is \
             enough.",
        ),
    ]);
    page.text("`tedge access check` prints the rule that allows a request.");
}
