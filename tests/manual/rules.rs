//! The section of `tedge.toml(5)` about the access rules.

use super::mdoc::Page;

/// Its text.
pub(crate) fn section(page: &mut Page) {
    page.section("ACCESS RULES");
    page.text(
        "The files in `http.access_path` and `c8y.proxy.access_path` contain rules in TOML. Each \
         rule begins with a line `[[rule]]`. Each key takes a string or a list of strings. A rule \
         matches a request if all its keys match. If it has both `below` and `exactly`, it is enough \
         that one of the two matches. A request is allowed if any rule matches it. All other requests \
         are answered with 403.",
    );
    let key = |key: &str, meaning: &str| (format!("Cm {key}"), meaning.to_owned());
    page.list([
        key(
            "who",
            "Names of clients; `*` is any name. The names of a client are the DNS names, URIs and \
             email addresses in its certificate. If the certificate has none of these, its common \
             name counts. A rule without this key also matches clients without a certificate.",
        ),
        key("from", "Addresses and networks of clients, such as 192.168.1.0/24. Default: all."),
        key(
            "may",
            "Required: read (GET, HEAD), write (PUT, DELETE, POST, PATCH), or methods in capitals.",
        ),
        key(
            "below",
            "Directories, without the prefix /te/v1/files, /tedge/file-transfer or /c8y. \
             `{who}` stands for the name of the client. A path that begins with /te/v1/entities/ \
             allows requests for entities of tedge-agent, never for files.",
        ),
        key(
            "exactly",
            "Single paths. A rule needs `below`, `exactly` or both. One matching path in either \
             is enough.",
        ),
    ]);
    page.text("`tedge access check` prints the rule that allows a request.");
    page.paragraph();
    page.text(
        "Names are compared byte by byte. If a name in a certificate is `*`, or contains \
         `/`, `..` or a control character, no path with `{who}` matches for this name. Before the path of a request is \
         compared, it is decoded. Its empty parts are removed, except for entities (see below). \
         In paths of files, parts `.` are removed too. GET /health needs no rule. A WebSocket is a \
         GET.",
    );
    page.subsection("Rules for entities of tedge-agent");
    page.text(
        "Write the whole path, such as `/te/v1/entities/device/{who}/`. A path that is \
         `/te/v1/entities`, or that begins with `/te/v1/entities/`, allows requests for entities and \
         none for files. To decide this, the service looks at the path as written in the file of rules, \
         before `{who}` is replaced. Every other path allows requests for files and none for entities, except \
         `below = \"/\"`, which allows both.",
    );
    page.paragraph();
    page.text(
        "The path of a request for an entity is decoded once before it is compared, and keeps its empty \
         parts. Slashes at its end make no difference: the entity `device/child1//` is also \
         `device/child1`. A path with a part `.` or `..` is refused. A client that may POST to \
         `/te/v1/entities` can register any entity.",
    );
    page.subsection("Rules for Cumulocity");
    page.text(
        "The paths `/a/` and `/a` are the same. An encoded slash does not separate parts. A path is \
         refused if it has a part `.` or `..` after it is decoded, once or several times. If \
         `X-HTTP-METHOD` names another method, the rules must allow both methods.",
    );
}
