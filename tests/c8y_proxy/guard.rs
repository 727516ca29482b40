//! Paths that make Cumulocity revoke the device's token are refused.

use crate::support::device::Device;

#[test]
fn paths_of_the_web_applications_are_forbidden() {
    let device = Device::start();
    device.warm();
    for path in [
        "/main.js",
        "/a/b/c.js",
        "/main.JS",
        "/main.jS",
        "/main%2ejs",
        "/main%2Ejs",
        "/main.%6as",
        "/main.j%73",
        "/main%2E%6A%53",
        "/main.js?query",
        "/.js",
        "/apps",
        "/apps/",
        "/apps/cockpit/index.html",
        "/Apps/cockpit",
        "/APPS",
        "/%61pps/x",
        "/a%70ps",
        "//apps/",
        "///apps//x",
        "/%2Fapps/x",
        "/apps%2Fx",
        "/apps?x",
    ] {
        let answer = device.get(&format!("/c8y{path}"));
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.body.is_empty(), "{path}: {}", answer.text());
    }
    assert!(device.cloud().seen().requests.is_empty());
    device.warm();
    assert_eq!(device.bridge().asked(), 1, "the token was lost");
}

#[test]
fn the_session_of_the_device_is_not_for_others_to_end() {
    let device = Device::start();
    device.warm();
    for path in [
        "/user/logout",
        "/USER/Logout/",
        "/user//logout?x",
        "/user%2Flogout",
        "/%75ser/log%6fut",
        "/user/x/../logout",
        "/user;v=1/logout;v=1",
        "/x/..;/user/logout",
        "/user/logout/t12345/allUsers",
        "/user/logout%00",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = device.ask(format!(
                "{method} /c8y{path} HTTP/1.1\r\nHost: a\r\nCookie: authorization=x\r\n\r\n"
            ));
            assert_eq!(answer.status, 403, "{method} {path}");
            assert!(answer.body.is_empty(), "{path}: {}", answer.text());
        }
    }
    assert!(device.cloud().seen().requests.is_empty());
    device.warm();
    assert_eq!(device.bridge().asked(), 1, "the token was lost");
    // Whoever has a session of his own may end it.
    let own = "POST /c8y/user/logout HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer own\r\n\r\n";
    assert_eq!(device.ask(own).status, 401);
    assert_eq!(device.cloud().requests("/user/logout")[0].bearer(), Some("own"));
}

#[test]
fn paths_that_only_look_like_it_cross() {
    let device = Device::start();
    device.warm();
    for path in [
        "/application/applications",
        "/service/echo/apps",
        "/service/echo/a.json",
        "/service/echo/js",
        "/service/echo/a.jsx",
        "/service/echo/a.js/b",
        "/appsx",
        "/x?y=a.js",
        "/user/currentUser",
        "/user/logouts",
        "/x?y=/user/logout",
    ] {
        device.cloud().forget();
        let answer = device.get(&format!("/c8y{path}"));
        assert_ne!(answer.status, 403, "{path}");
        assert_eq!(device.cloud().seen().requests.len(), 1, "{path}");
    }
}

#[test]
fn every_method_is_refused_with_the_body_unread() {
    let device = Device::start();
    for method in ["GET", "PUT", "POST", "DELETE", "OPTIONS"] {
        let answer = device.ask(format!(
            "{method} /c8y/apps/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        ));
        assert_eq!(answer.status, 403, "{method}");
    }
    let upgrade = "GET /c8y/apps/x HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a2V5\r\n\r\n";
    assert_eq!(device.ask(upgrade).status, 403);
    assert!(device.cloud().seen().requests.is_empty());
    assert_eq!(device.bridge().asked(), 0, "a token is not needed to say no");
}
