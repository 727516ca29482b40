//! The faults: how each is made and repaired, by what it shows, and how long the proxy may take to
//! recover.

use std::fs;
use std::time::Duration;

use super::chance::Chance;
use super::names::Mood;
use super::tally::REFUSED;
use super::world::World;
use crate::support::bridge::Answer;
use crate::support::cloud::{ALERT, Greeting};

/// Each kind once, and all of them.
macro_rules! faults {
    ($($fault:ident)*) => {
        /// One kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault {
            $($fault,)*
        }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$fault,)*];
        }
    };
}

faults! {
    PacketsLost
    PacketsLate
    PacketsReordered
    PacketsDoubled
    PacketsDamaged
    ConnectionsReset
    CableCut
    DeviceUnplugged
    CloudUnplugged
    NamesFail
    NamesDenied
    NamesSilent
    CloudStopped
    CloudSilent
    CloudHangsUp
    CloudRefusesTls
    CloudClosesIdle
    CertificateRenewed
    CertificateExpired
    CertificateOfAnotherCa
    BrokerKilled
    BrokerFrozen
    BridgeAway
    BridgeSilent
    BridgeSlow
    TokenMalformed
    EndpointStopped
    EndpointSilent
    EndpointHangsUp
    TokensRevoked
    DeviceRenewed
    DeviceRenewedKeyFirst
    ClockForward
    ClockBack
}

/// By what a fault shows.
pub(crate) enum Sign {
    /// By no answer: the proxy hides it.
    None,
    /// The proxy says so, at once.
    Soon(&'static str),
    /// The proxy says so, when its time is over.
    Late(&'static str),
}

use Fault::*;

impl Fault {
    /// Makes it happen.
    pub(crate) fn inject(self, world: &mut World, chance: &mut Chance) {
        let World { network, cloud, endpoint, names, bridge, .. } = world;
        match self {
            PacketsLost => network.trouble(&format!("loss 0.{:02}", 3 + chance.below(18))),
            PacketsLate => {
                let delay = 30 + chance.below(300);
                network.trouble(&format!("delay 0.{delay:03} jitter 0.{:03}", delay / 2));
            }
            PacketsReordered => network.trouble("delay 0.02 jitter 0.02 reorder 0.25"),
            PacketsDoubled => network.trouble("double 0.2"),
            PacketsDamaged => network.trouble("damage 0.02"),
            ConnectionsReset => network.trouble("reset 0.02"),
            CableCut => network.trouble("loss 1"),
            DeviceUnplugged => {
                cloud.break_off();
                endpoint.break_off();
                network.unplug();
            }
            CloudUnplugged => network.unplug_the_cloud(),
            NamesFail | NamesDenied | NamesSilent => {
                names.turn(match self {
                    NamesFail => Mood::Fails,
                    NamesDenied => Mood::Denies,
                    _ => Mood::Silent,
                });
                cloud.break_off();
            }
            CloudStopped => {
                cloud.stop();
                endpoint.stop();
            }
            CloudSilent | CloudHangsUp | CloudRefusesTls => {
                let greeting = match self {
                    CloudSilent => Greeting::Silence,
                    CloudHangsUp => Greeting::HangUp,
                    _ => Greeting::Send(ALERT.to_vec()),
                };
                cloud.greet(greeting.clone());
                endpoint.greet(greeting);
                cloud.break_off();
            }
            CloudClosesIdle => {
                cloud.close_idle();
            }
            CertificateRenewed => world.show(&world.certificates.renewed),
            CertificateExpired => world.show(&world.certificates.expired),
            CertificateOfAnotherCa => world.show(&world.certificates.of_another_ca),
            BrokerKilled => world.broker.stop(),
            BrokerFrozen => world.broker.freeze(),
            BridgeAway => bridge.leave(),
            BridgeSilent => bridge.answer(Answer::Nothing),
            BridgeSlow => bridge.answer(Answer::Late(Duration::from_secs(1 + chance.below(6)))),
            TokenMalformed => bridge.answer(Answer::Payload(malformed(chance))),
            EndpointStopped => endpoint.stop(),
            EndpointSilent | EndpointHangsUp => {
                endpoint.greet(match self {
                    EndpointSilent => Greeting::Silence,
                    _ => Greeting::HangUp,
                });
                // Nor does it give a token to a fetch under way once all are revoked.
                endpoint.break_off();
            }
            TokensRevoked => {}
            DeviceRenewed | DeviceRenewedKeyFirst => {
                // A fetch is under way between the two files.
                cloud.tokens().revoke_all();
                world.device.renew(self == DeviceRenewedKeyFirst);
            }
            ClockForward => world.set_clock("+86400"),
            ClockBack => world.set_clock("-86400"),
        }
        if self.is_about_tokens() {
            world.cloud.tokens().revoke_all();
        }
    }

    /// Repeats what has to be repeated each second.
    pub(crate) fn go_on(self, world: &World) {
        match self {
            CloudClosesIdle => drop(world.cloud.close_idle()),
            TokensRevoked => world.cloud.tokens().revoke_all(),
            _ => {}
        }
    }

    /// Repairs it.
    pub(crate) fn mend(self, world: &mut World) {
        world.network.mend();
        world.names.turn(Mood::Answers);
        world.bridge.answer(Answer::Token);
        match self {
            CloudStopped => {
                world.restart_cloud();
                world.restart_endpoint();
            }
            EndpointStopped => world.restart_endpoint(),
            EndpointSilent | EndpointHangsUp => world.endpoint.greet(Greeting::Tls),
            CloudSilent | CloudHangsUp | CloudRefusesTls => {
                world.cloud.greet(Greeting::Tls);
                world.endpoint.greet(Greeting::Tls);
                world.cloud.break_off();
            }
            CertificateExpired | CertificateOfAnotherCa => world.show(&world.certificates.good),
            BrokerKilled => world.broker.restart().unwrap(),
            BrokerFrozen => world.broker.thaw(),
            BridgeAway => world.bridge.come_back(),
            ClockForward | ClockBack => world.set_clock("+0"),
            _ => {}
        }
    }

    /// By what it shows, with the token from that source.
    pub(crate) fn sign(self, source: &str) -> Sign {
        if source != "mqtt" && self.is_of_the_broker()
            || source != "https" && self.is_of_the_endpoint()
        {
            return Sign::None;
        }
        match self {
            NamesFail | NamesDenied | DeviceUnplugged => Sign::Soon("cloud.example"),
            CloudStopped => Sign::Soon("refused"),
            CloudHangsUp | CloudRefusesTls => Sign::Soon("TLS"),
            CertificateExpired => Sign::Soon("has expired on 2020"),
            CertificateOfAnotherCa => Sign::Soon("an unknown authority"),
            CableCut | CloudUnplugged | CloudSilent => Sign::Late("took too long to"),
            // Our own 10 s and the resolver's are over at about the same time.
            NamesSilent => Sign::Late("cloud.example"),
            // The cloud's own refusal is passed on where no other token comes.
            TokenMalformed | EndpointStopped | EndpointSilent | EndpointHangsUp => {
                Sign::Soon(REFUSED)
            }
            BrokerKilled | BrokerFrozen | BridgeAway | BridgeSilent => Sign::Late(REFUSED),
            _ => Sign::None,
        }
    }

    /// How long the proxy may take to recover.
    pub(crate) fn recovery(self) -> Duration {
        Duration::from_secs(match self {
            // A back-off that has grown to 16 s, the connection, and a question asked again.
            BrokerKilled | BrokerFrozen => 35,
            // A fetch whose time is up, and the pause before the next.
            EndpointSilent => 35,
            // What is wrong with a token is known for the 10 s between two fetches.
            TokenMalformed => 20,
            _ => 15,
        })
    }

    fn is_of_the_broker(self) -> bool {
        matches!(
            self,
            BrokerKilled | BrokerFrozen | BridgeAway | BridgeSilent | BridgeSlow | TokenMalformed
        )
    }

    fn is_of_the_endpoint(self) -> bool {
        matches!(self, EndpointStopped | EndpointSilent | EndpointHangsUp)
    }

    fn is_about_tokens(self) -> bool {
        self.is_of_the_broker() || self.is_of_the_endpoint() || self == TokensRevoked
    }
}

impl World {
    /// The proxy's clock is that many seconds wrong; how it measures time is not touched.
    fn set_clock(&self, offset: &str) {
        if let Some(clock) = &self.clock {
            fs::write(clock, offset).unwrap();
        }
    }
}

fn malformed(chance: &mut Chance) -> Vec<u8> {
    let all: [&[u8]; 6] = [b"", b"71,", b"71", b"41,100,no", b"71,a b\r\nc", &[0xff; 40_000]];
    all[chance.below(6) as usize].to_vec()
}
