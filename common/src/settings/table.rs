//! The table of all settings: key, type, default, the programs that read it, an example, a meaning.
//! The typed struct, the loader, the writer and every text about settings are generated from it.

use std::net::IpAddr;
use std::time::Duration;

use super::hosts::{HostPatterns, HostPort, Proxy, Tenant, WebOrigins};
use super::paths::Paths;
use super::profile::Profile;
use super::setting::Fallback::{Below, Const, Like, Unset};
use super::setting::Program::{C8yProxy, FileTransfer, Tedge};
use super::setting::{Kind, Setting, ValueType};
use super::types::{
    Age, AuthMethod, BrokerPort, CaPath, CertificatePath, Count, CredentialsPath, CrlPath,
    DataPath, DeviceKeyPath, Free, KeyPath, List, PasswordPath, Port, RulesPath, Secret, Size,
    Text, TokenFrom, TopicId, TopicPrefix, TopicRoot, Total,
};
use super::value::{self, Layer, RawValue};
use crate::error::Error;
use crate::net::Host;

macro_rules! settings {
    ($(
        $(#[doc = $meaning:literal])+
        $field:ident: $type:ty = $key:literal $(($own:ident))?, $fallback:expr, [$($user:expr),+], $example:literal;
    )+) => {
        /// All settings in effect, defaults resolved. A field is named as its key, with
        /// underscores for dots.
        #[derive(Clone, Debug)]
        pub struct Settings {
            $($(#[doc = $meaning])+ pub $field: <$type as ValueType>::Value,)+
            layers: Vec<Layer>,
            /// The cloud profile that `c8y.*` is of.
            pub profile: Option<Profile>,
        }

        impl Settings {
            /// Parses the values, which are in the order of the table.
            pub(super) fn new(
                found: &[Option<RawValue>],
                profile: Option<Profile>,
            ) -> Result<Self, Error> {
                let layer = |value: &Option<RawValue>| match value {
                    Some(value) => value.layer.clone(),
                    None => Layer::Default,
                };
                Ok(Self {
                    $($field: {
                        let index = FieldIndex::$field as usize;
                        value::typed::<$type>(&SETTINGS[index], found[index].as_ref())?
                    },)+
                    layers: found.iter().map(layer).collect(),
                    profile,
                })
            }
        }

        #[expect(non_camel_case_types, reason = "named as the fields are")]
        enum FieldIndex {
            $($field,)+
        }

        /// All settings, in the order in which they are shown.
        pub static SETTINGS: &[Setting] = &[$(Setting {
            index: FieldIndex::$field as usize,
            key: $key,
            meaning: concat!($($meaning),+),
            kind: Kind::of::<$type>(),
            fallback: $fallback,
            used_by: &[$($user),+],
            example: $example,
            own: settings!(@own $($own)?),
        },)+];
    };
    (@own own) => { true };
    (@own) => { false };
}

settings! {
    /// The name of this device. If the certificate in device.cert_path exists, its common name is
    /// used instead.
    device_id: Option<Text> = "device.id", Unset, [Tedge], "rpi4-dca632efb150";
    /// The device's own certificate, PEM.
    device_cert_path: CertificatePath = "device.cert_path", Below("device-certs/tedge-certificate.pem"),
        [C8yProxy, Tedge], "/etc/tedge/device-certs/tedge-certificate.pem";
    /// The private key of device.cert_path, PEM.
    device_key_path: DeviceKeyPath = "device.key_path", Below("device-certs/tedge-private-key.pem"),
        [C8yProxy, Tedge], "/etc/tedge/device-certs/tedge-private-key.pem";
    /// The data directory. The transferred files are in its subdirectory file-transfer.
    data_path: DataPath = "data.path", Const("/var/tedge"), [FileTransfer, C8yProxy, Tedge], "/data/tedge";
    /// The address that the File Transfer Service listens on; 0.0.0.0 or :: for all.
    http_bind_address: IpAddr = "http.bind.address",
        Like(&["mqtt.external.bind.address", "mqtt.bind.address"], Some("127.0.0.1")),
        [FileTransfer], "192.168.1.6";
    /// The port that the File Transfer Service listens on.
    http_bind_port: Port = "http.bind.port", Const("8000"), [FileTransfer], "8000";
    /// The server certificate of the File Transfer Service, PEM with its chain. If this and
    /// http.key_path are set, HTTPS is on.
    http_cert_path: Option<CertificatePath> = "http.cert_path", Unset,
        [FileTransfer], "/etc/tedge/device-local-certs/main-agent.crt";
    /// The private key of http.cert_path, PEM.
    http_key_path: Option<KeyPath> = "http.key_path", Unset,
        [FileTransfer], "/etc/tedge/device-local-certs/main-agent.key";
    /// CA certificates, a file or a directory. Clients of the File Transfer Service must present a
    /// certificate that one of these CAs has signed. Requires http.cert_path.
    http_ca_path: Option<CaPath> = "http.ca_path", Unset,
        [FileTransfer], "/etc/tedge/device-local-certs/tedge-local-ca.crt";
    /// Certificate revocation lists, a file or a directory. Clients with a revoked certificate are
    /// refused. Requires http.ca_path.
    http_crl_path: Option<CrlPath> = "http.crl_path" (own), Unset,
        [FileTransfer], "/etc/tedge/device-local-certs/revoked.pem";
    /// The file with the rules that say who may read and write which files. If it is not set, every
    /// client may read and write all files.
    http_access_path: Option<RulesPath> = "http.access_path" (own), Unset,
        [FileTransfer], "/etc/tedge/access/files.toml";
    /// Host names that clients may use for the File Transfer Service, besides those of this
    /// machine. *.example.com stands for all names below example.com, * for any name.
    http_allowed_hosts: HostPatterns = "http.allowed_hosts" (own), Unset,
        [FileTransfer], "gateway.example.com,*.plant.example";
    /// The origins (scheme, host and port) of other web sites whose pages may use the
    /// File Transfer Service.
    http_allowed_origins: WebOrigins = "http.allowed_origins" (own), Unset,
        [FileTransfer], "https://panel.example.com";
    /// The address of the HTTP server (without TLS) of thin-edge.io's tedge-agent. The service
    /// forwards requests for /te/v1/entities to it. If tedge-agent is installed, the packages set
    /// this in the environment of the unit, which overrides the settings files.
    http_agent_address: Option<HostPort<18000>> = "http.agent.address" (own), Unset,
        [FileTransfer], "127.0.0.1:18000";
    /// The host at which clients reach the File Transfer Service.
    http_client_host: Host = "http.client.host", Const("127.0.0.1"), [Tedge], "rpi4-dca632efb150";
    /// The port at which clients reach the File Transfer Service.
    http_client_port: Port = "http.client.port", Const("8000"), [Tedge], "8000";
    /// The client certificate that `tedge http` presents if a service requires one, PEM. Requires
    /// http.client.auth.key_file.
    http_client_auth_cert_file: Option<CertificatePath> = "http.client.auth.cert_file", Unset,
        [Tedge], "/etc/tedge/device-local-certs/tedge-client.crt";
    /// The private key of http.client.auth.cert_file, PEM.
    http_client_auth_key_file: Option<KeyPath> = "http.client.auth.key_file", Unset,
        [Tedge], "/etc/tedge/device-local-certs/tedge-client.key";
    /// The maximum size of an upload. If it is not set, there is no limit.
    http_upload_max_size: Option<Size> = "http.upload.max_size" (own), Unset, [FileTransfer], "500M";
    /// The space that uploads, and the cache of the Cumulocity Proxy, must leave free on the file
    /// system.
    http_upload_min_free: Free = "http.upload.min_free" (own), Const("5%"),
        [FileTransfer, C8yProxy], "100M";
    /// Whether an upload is synced to the disk before it is answered. If false, the upload is still
    /// atomic, but a power cut may undo it.
    http_upload_sync: bool = "http.upload.sync" (own), Const("true"), [FileTransfer], "false";
    /// Files that were neither written nor read for this time are deleted. If it is not set, no file
    /// expires. An upload can set a shorter age for its file with Cache-Control: max-age or Expires.
    http_files_max_age: Option<Age> = "http.files.max_age" (own), Unset, [FileTransfer], "90d";
    /// The maximum total size of all files. If it is not set, there is no limit. An upload that
    /// would exceed it is refused with 507, unless http.files.make_room is true.
    http_files_max_total: Option<Total> = "http.files.max_total" (own), Unset, [FileTransfer], "2G";
    /// If true, an upload that would exceed http.files.max_total deletes the least recently written
    /// or read files until it fits. If false, such an upload is refused.
    http_files_make_room: bool = "http.files.make_room" (own), Const("false"),
        [FileTransfer], "true";
    /// The maximum number of connections of the File Transfer Service.
    http_connections_max: Count = "http.connections.max" (own), Const("128"), [FileTransfer], "32";
    /// The address of the Cumulocity tenant; the default of c8y.http and c8y.mqtt.
    c8y_url: Option<Tenant> = "c8y.url", Unset, [C8yProxy, Tedge], "example.cumulocity.com";
    /// The address of the REST API of Cumulocity; the default port is 443.
    c8y_http: Option<HostPort<443>> = "c8y.http", Like(&["c8y.url"], None),
        [C8yProxy], "example.cumulocity.com:8443";
    /// The address of the MQTT broker of Cumulocity; the default port is 8883.
    c8y_mqtt: Option<HostPort<8883>> = "c8y.mqtt", Like(&["c8y.url"], None),
        [Tedge], "mqtt.example.com:8883";
    /// The file or directory with the CA certificates that verify Cumulocity. `tedge http` also
    /// trusts the CAs of the system.
    c8y_root_cert_path: CaPath = "c8y.root_cert_path", Const("/etc/ssl/certs"),
        [C8yProxy, Tedge], "/etc/ssl/certs/ca-certificates.crt";
    /// How the device authenticates to Cumulocity. auto: basic if the file in c8y.credentials_path
    /// exists, otherwise certificate.
    c8y_auth_method: AuthMethod = "c8y.auth_method", Const("certificate"), [C8yProxy], "basic";
    /// The file with the user name and the password for c8y.auth_method basic.
    c8y_credentials_path: CredentialsPath = "c8y.credentials_path", Below("credentials.toml"),
        [C8yProxy], "/etc/tedge/credentials.toml";
    /// The topic prefix of the MQTT bridge to Cumulocity.
    c8y_bridge_topic_prefix: TopicPrefix = "c8y.bridge.topic_prefix", Const("c8y"),
        [C8yProxy], "c8y-second";
    /// The address that the Cumulocity Proxy listens on; 0.0.0.0 or :: for all.
    c8y_proxy_bind_address: IpAddr = "c8y.proxy.bind.address", Const("127.0.0.1"),
        [C8yProxy], "192.168.1.6";
    /// The port that the Cumulocity Proxy listens on.
    c8y_proxy_bind_port: Port = "c8y.proxy.bind.port", Const("8001"), [C8yProxy], "8001";
    /// The server certificate of the Cumulocity Proxy, PEM with its chain. If this and
    /// c8y.proxy.key_path are set, HTTPS is on.
    c8y_proxy_cert_path: Option<CertificatePath> = "c8y.proxy.cert_path", Unset,
        [C8yProxy], "/etc/tedge/device-local-certs/c8y-mapper.crt";
    /// The private key of c8y.proxy.cert_path, PEM.
    c8y_proxy_key_path: Option<KeyPath> = "c8y.proxy.key_path", Unset,
        [C8yProxy], "/etc/tedge/device-local-certs/c8y-mapper.key";
    /// CA certificates, a file or a directory. Clients of the Cumulocity Proxy must present a
    /// certificate that one of these CAs has signed. Requires c8y.proxy.cert_path.
    c8y_proxy_ca_path: Option<CaPath> = "c8y.proxy.ca_path", Unset,
        [C8yProxy], "/etc/tedge/device-local-certs/tedge-local-ca.crt";
    /// Certificate revocation lists, a file or a directory. Clients with a revoked certificate are
    /// refused. Requires c8y.proxy.ca_path.
    c8y_proxy_crl_path: Option<CrlPath> = "c8y.proxy.crl_path" (own), Unset,
        [C8yProxy], "/etc/tedge/device-local-certs/revoked.pem";
    /// The file with the rules that say who may send which requests to Cumulocity. If it is not set,
    /// every client may send all requests.
    c8y_proxy_access_path: Option<RulesPath> = "c8y.proxy.access_path" (own), Unset,
        [C8yProxy], "/etc/tedge/access/c8y.toml";
    /// Host names that clients may use for the Cumulocity Proxy, besides those of this machine.
    /// *.example.com stands for all names below example.com, * for any name.
    c8y_proxy_allowed_hosts: HostPatterns = "c8y.proxy.allowed_hosts" (own), Unset,
        [C8yProxy], "gateway.example.com,*.plant.example";
    /// The origins (scheme, host and port) of other web sites whose pages may use the
    /// Cumulocity Proxy.
    c8y_proxy_allowed_origins: WebOrigins = "c8y.proxy.allowed_origins" (own), Unset,
        [C8yProxy], "https://panel.example.com";
    /// Where the device's token comes from. mqtt: from the local broker. https: from Cumulocity,
    /// which checks the certificate in device.cert_path. auto: from the broker, or from Cumulocity
    /// if the broker gives no token within 5 seconds.
    c8y_proxy_token_source: TokenFrom = "c8y.proxy.token_source" (own), Const("mqtt"),
        [C8yProxy, Tedge], "https";
    /// The server that gives the token over HTTPS. If it is not set: the host of c8y.http, port 8443.
    c8y_proxy_token_url: Option<HostPort<8443>> = "c8y.proxy.token_url" (own), Unset,
        [C8yProxy, Tedge], "example.cumulocity.com:8443";
    /// Whether the Cumulocity Proxy announces itself and its health on the local MQTT broker.
    c8y_proxy_publish_health: bool = "c8y.proxy.publish_health" (own), Const("true"),
        [C8yProxy], "false";
    /// The maximum size of the Cumulocity Proxy's cache on the disk. If it is not set, nothing is
    /// cached. Binaries that one client has downloaded are served to other clients from the cache.
    c8y_proxy_cache_max_size: Option<Size> = "c8y.proxy.cache.max_size" (own), Unset,
        [C8yProxy, Tedge], "2G";
    /// The directory of the cache. If it is not set, the systemd service uses
    /// /var/cache/tedge-c8y-proxy. A proxy that is started by hand uses c8y-cache in data.path.
    c8y_proxy_cache_path: Option<DataPath> = "c8y.proxy.cache.path" (own), Unset,
        [C8yProxy, Tedge], "/data/c8y-cache";
    /// If Cumulocity cannot be reached, does not answer within 10 s, or answers 502, 503 or 504, the
    /// proxy serves a cached binary whose last check is not older than this time. 0: it serves none.
    c8y_proxy_cache_offline: Duration = "c8y.proxy.cache.offline" (own), Const("0"),
        [C8yProxy], "12h";
    /// Answers smaller than this are not cached.
    c8y_proxy_cache_min_size: Size = "c8y.proxy.cache.min_size" (own), Const("64k"),
        [C8yProxy], "1M";
    /// More paths of Cumulocity to cache. /inventory/binaries/ID and /event/events/ID/binaries are
    /// always cached. * stands for one part between slashes; a path that ends with / stands for
    /// everything below it.
    c8y_proxy_cache_paths: Paths = "c8y.proxy.cache.paths" (own), Unset,
        [C8yProxy], "/service/firmware/*/image";
    /// The host at which clients reach the Cumulocity Proxy.
    c8y_proxy_client_host: Host = "c8y.proxy.client.host", Const("127.0.0.1"),
        [Tedge], "rpi4-dca632efb150";
    /// The port at which clients reach the Cumulocity Proxy.
    c8y_proxy_client_port: Port = "c8y.proxy.client.port",
        Like(&["c8y.proxy.bind.port"], Some("8001")),
        [Tedge], "8001";
    /// The maximum number of connections of the Cumulocity Proxy.
    c8y_proxy_connections_max: Count = "c8y.proxy.connections.max" (own), Const("64"),
        [C8yProxy], "16";
    /// The address that the local MQTT broker listens on.
    mqtt_bind_address: IpAddr = "mqtt.bind.address", Const("127.0.0.1"),
        [FileTransfer], "127.0.0.1";
    /// The port that the local MQTT broker listens on.
    mqtt_bind_port: BrokerPort = "mqtt.bind.port", Const("1883"), [C8yProxy], "1883";
    /// The address that the local MQTT broker listens on for other devices.
    mqtt_external_bind_address: Option<IpAddr> = "mqtt.external.bind.address", Unset,
        [FileTransfer], "192.168.1.6";
    /// The host of the local MQTT broker, from which the device's token is requested.
    mqtt_client_host: Host = "mqtt.client.host", Const("127.0.0.1"), [C8yProxy], "192.168.1.6";
    /// The port of the local MQTT broker.
    mqtt_client_port: BrokerPort = "mqtt.client.port", Like(&["mqtt.bind.port"], Some("1883")),
        [C8yProxy], "8883";
    /// The file with the CA certificates that verify the MQTT broker. Turns TLS on.
    mqtt_client_auth_ca_file: Option<CaPath> = "mqtt.client.auth.ca_file", Unset,
        [C8yProxy], "/etc/tedge/device-local-certs/broker-ca.crt";
    /// The directory with the CA certificates that verify the MQTT broker. Turns TLS on.
    mqtt_client_auth_ca_dir: Option<CaPath> = "mqtt.client.auth.ca_dir", Unset,
        [C8yProxy], "/etc/ssl/certs";
    /// The client certificate for the MQTT broker, PEM.
    mqtt_client_auth_cert_file: Option<CertificatePath> = "mqtt.client.auth.cert_file", Unset,
        [C8yProxy], "/etc/tedge/device-local-certs/broker-client.crt";
    /// The private key of mqtt.client.auth.cert_file, PEM.
    mqtt_client_auth_key_file: Option<KeyPath> = "mqtt.client.auth.key_file", Unset,
        [C8yProxy], "/etc/tedge/device-local-certs/broker-client.key";
    /// The user name for the MQTT broker.
    mqtt_client_auth_username: Option<Text> = "mqtt.client.auth.username", Unset,
        [C8yProxy], "proxy";
    /// The file that holds the password for the MQTT broker.
    mqtt_client_auth_password_file: Option<PasswordPath> = "mqtt.client.auth.password_file", Unset,
        [C8yProxy], "/etc/tedge/mqtt-password";
    /// The first part of all thin-edge.io topics on the MQTT broker.
    mqtt_topic_root: TopicRoot = "mqtt.topic_root", Const("te"), [C8yProxy], "te";
    /// The part of this device's topics that follows mqtt.topic_root.
    mqtt_device_topic_id: TopicId = "mqtt.device_topic_id", Const("device/main//"),
        [C8yProxy], "device/child01//";
    /// The HTTP proxy (CONNECT) for connections to Cumulocity. With https://, the connection to the
    /// proxy uses TLS. A user name and a password in the address are used if proxy.username is not
    /// set. If the address is not set, HTTPS_PROXY or ALL_PROXY in the environment is used.
    proxy_address: Option<Proxy> = "proxy.address", Unset,
        [C8yProxy], "http://proxy.example.com:3128";
    /// The user name for the HTTP proxy.
    proxy_username: Option<Text> = "proxy.username", Unset, [C8yProxy], "device";
    /// The password for the HTTP proxy.
    proxy_password: Option<Secret> = "proxy.password", Unset, [C8yProxy], "secret";
    /// Hosts to connect to without the HTTP proxy. Each is a name (with all names below
    /// it), an IP address, a network such as 10.0.0.0/8, or * for all. A name or an
    /// address with a port applies to that port only. If the setting is not set, NO_PROXY in the
    /// environment is used.
    proxy_no_proxy: List = "proxy.no_proxy", Unset, [C8yProxy], "localhost,.example.com";
}

impl Settings {
    /// The layer of the value of this key, for messages: `"{key} in {layer}"`.
    pub fn layer(&self, key: &str) -> &Layer {
        find(key).and_then(|setting| self.layers.get(setting.index)).unwrap_or(&Layer::Default)
    }
}

/// The setting with this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
