//! Old spellings of keys, and suggestions for mistyped keys. Knows only names.

use strsim::osa_distance;

use super::table::SETTINGS;

/// Old spellings, each with the key that it means.
pub const OLD_SPELLINGS: &[(&str, &str)] = &[
    ("http.port", "http.bind.port"),
    ("http.address", "http.bind.address"),
    ("mqtt.client.auth.cafile", "mqtt.client.auth.ca_file"),
    ("mqtt.client.auth.cadir", "mqtt.client.auth.ca_dir"),
    ("mqtt.client.auth.certfile", "mqtt.client.auth.cert_file"),
    ("mqtt.client.auth.keyfile", "mqtt.client.auth.key_file"),
];

/// All keys that are read: settings and old spellings.
pub(super) fn readable_keys() -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS.iter().map(|setting| setting.key);
    settings.chain(OLD_SPELLINGS.iter().map(|(old, _)| *old))
}

/// The keys that are similar to this one, the most similar first, at most three.
pub fn nearest(key: &str) -> Vec<&'static str> {
    // Inserted in order: a sort costs 4 KB of program.
    let mut near: Vec<(usize, &str)> = Vec::new();
    for setting in SETTINGS {
        let distance = osa_distance(key, setting.key);
        if distance <= setting.key.len() / 3 {
            let index = near.partition_point(|&(other, _)| other <= distance);
            near.insert(index, (distance, setting.key));
        }
    }
    let best = near.first().map_or(0, |&(distance, _)| distance);
    near.retain(|&(distance, _)| distance <= best * 2);
    near.into_iter().take(3).map(|(_, key)| key).collect()
}

/// The key that was probably meant. Dots and underscores are equal here, so that the names of
/// variables can be compared, too.
pub(super) fn misspelt(written: &str) -> Option<&'static str> {
    let written = written.replace('.', "_");
    if SIMILAR_KEYS.contains(&&*written) {
        return None;
    }
    SETTINGS.iter().map(|setting| setting.key).find(|known| {
        written.len().abs_diff(known.len()) <= 2
            && osa_distance(&written, &known.replace('.', "_")) <= 2
    })
}

/// Keys of thin-edge.io that are similar to ours and not misspelt.
const SIMILAR_KEYS: &[&str] = &["device_csr_path"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        assert_eq!(nearest("c8y.proxy.ca_pathh"), ["c8y.proxy.ca_path"]);
        assert_eq!(misspelt("http.bind.prot"), Some("http.bind.port"));
        assert_eq!(misspelt("http.cert-path"), Some("http.cert_path"));
        assert!(nearest("something.else.entirely").is_empty());
    }

    #[test]
    fn other_keys_of_thin_edge_are_not_misspelt() {
        for key in THIN_EDGE_KEYS.split_whitespace() {
            assert_eq!(misspelt(key), None, "{key}");
        }
    }

    const THIN_EDGE_KEYS: &str = "\
        mqtt.external.bind.port mqtt.external.ca_path mqtt.external.cert_file \
        mqtt.external.key_file device.type device.csr_path device.key_uri az.url \
        az.root_cert_path az.bridge.topic_prefix aws.url aws.root_cert_path \
        aws.bridge.topic_prefix c8y.device.id c8y.device.cert_path c8y.device.key_path \
        c8y.topics logs.path run.path tmp.path http.ca_cert";
}
