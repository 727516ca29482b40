//! A main device and a child device on one network: each has namespaces with a host name, an
//! address, a loopback and an /etc/hosts of its own.

use std::process::Command;

use super::directory::Directory;
use super::namespace::Namespace;

/// The name of the main device, in every /etc/hosts.
pub(crate) const MAIN: &str = "gateway";
/// The name of the child device.
pub(crate) const CHILD: &str = "kid";

const HOSTS: &str = "127.0.0.1 localhost\n::1 localhost\n192.0.2.1 gateway\n192.0.2.2 kid\n";

/// One of the two.
pub(crate) struct Machine(Namespace);

impl Machine {
    /// A main device and a child device, connected; `None` without the right to make them.
    pub(crate) fn pair() -> Option<[Self; 2]> {
        let directory = Directory::new();
        let hosts = directory.write("hosts", HOSTS);
        let hosts = hosts.to_str()?;
        let [main, child] = [Self::start(MAIN, hosts)?, Self::start(CHILD, hosts)?];
        let cable = format!(
            "ip link add eth0 netns {} type veth peer name eth0 netns {}",
            main.0.pid(),
            child.0.pid()
        );
        shell(&mut Command::new("sh"), &cable)?;
        main.run("ip address add 192.0.2.1/24 dev eth0; ip link set eth0 up")?;
        child.run("ip address add 192.0.2.2/24 dev eth0; ip link set eth0 up")?;
        Some([main, child])
    }

    fn start(name: &str, hosts: &str) -> Option<Self> {
        let script =
            format!("hostname {name} && ip link set lo up && mount --bind {hosts} /etc/hosts");
        Namespace::new(&["--net", "--mount", "--uts"], &script).map(Self)
    }

    fn run(&self, script: &str) -> Option<()> {
        let mut command = Command::new("nsenter");
        command.args(&self.enter()[1..]).arg("sh");
        shell(&mut command, script)
    }

    /// What runs a command there when it stands before it. The working directory is `/`.
    pub(crate) fn enter(&self) -> Vec<String> {
        let pid = self.0.pid();
        ["nsenter", "--target", &pid, "--net", "--mount", "--uts"].map(str::to_owned).to_vec()
    }

    /// Makes a command run there, with its arguments and environment.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let enter = self.enter();
        let mut there = Command::new(&enter[0]);
        there.args(&enter[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
        there.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        there
    }

    /// Runs `make` in its network: a socket that it makes stays there.
    pub(crate) fn inside<T: Send>(&self, make: impl FnOnce() -> T + Send) -> T {
        self.0.inside(make)
    }
}

fn shell(command: &mut Command, script: &str) -> Option<()> {
    command.args(["-ec", script]).status().ok()?.success().then_some(())
}
