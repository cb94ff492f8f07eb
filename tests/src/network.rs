//! Several machines on one: network namespaces that see each other over a switch of their own, and
//! nothing else. Only root can make them.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::program::Program;

/// The switch of one test, and the machines on it.
pub struct Network {
    /// Tells this network's namespaces from those of every other test.
    tag: String,
    machines: Vec<Machine>,
}

/// A machine: a network namespace with one address, and loopback.
#[derive(Debug, Clone)]
pub struct Machine {
    namespace: String,
    /// Its end of the cable at the switch.
    port: String,
    switch: String,
    /// Its address.
    pub address: String,
}

impl Network {
    /// A switch with nothing on it.
    pub fn new() -> Network {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The kernel cuts names of interfaces at 15 characters.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let tag = format!("j{}x{count}", std::process::id());
        let network = Network { tag, machines: Vec::new() };
        let switch = network.switch();
        ip(&["netns", "add", &switch]);
        ip(&["-n", &switch, "link", "add", "sw", "type", "bridge"]);
        ip(&["-n", &switch, "link", "set", "sw", "up"]);
        network
    }

    fn switch(&self) -> String {
        format!("{}sw", self.tag)
    }

    /// Plugs one more machine in.
    pub fn machine(&mut self) -> Machine {
        let number = self.machines.len() + 1;
        let machine = Machine {
            namespace: format!("{}m{number}", self.tag),
            port: format!("p{number}"),
            switch: self.switch(),
            address: format!("10.99.0.{number}"),
        };
        let Machine { namespace, port, switch, address } = &machine;
        ip(&["netns", "add", namespace]);
        ip(&["-n", namespace, "link", "set", "lo", "up"]);
        ip(&[
            "-n", switch, "link", "add", port, "type", "veth", "peer", "eth0", "netns", namespace,
        ]);
        ip(&["-n", switch, "link", "set", port, "master", "sw", "up"]);
        ip(&["-n", namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"]);
        ip(&["-n", namespace, "link", "set", "eth0", "up"]);
        self.machines.push(machine.clone());
        machine
    }
}

impl Default for Network {
    fn default() -> Network {
        Network::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What goes wrong here must not hide what a test found.
        for machine in &self.machines {
            let _ = Program::new("ip").args(["netns", "delete", &machine.namespace]).run();
        }
        let _ = Program::new("ip").args(["netns", "delete", &self.switch()]).run();
    }
}

impl Machine {
    /// A program on this machine.
    pub fn program(&self, name: &str) -> Program {
        let path = Program::path(name);
        Program::new("ip").args(["netns", "exec", &self.namespace]).args([path])
    }

    /// Lets nothing through between this machine and another.
    pub fn part_from(&self, other: &Machine) {
        for (here, there) in [(self, other), (other, self)] {
            ip(&["-n", &here.namespace, "route", "add", "blackhole", &there.address]);
        }
    }

    /// Pulls the cable out.
    pub fn unplug(&self) {
        ip(&["-n", &self.switch, "link", "set", &self.port, "down"]);
    }

    /// Plugs the cable in again.
    pub fn plug_in(&self) {
        ip(&["-n", &self.switch, "link", "set", &self.port, "up"]);
    }
}

fn ip(args: &[&str]) {
    Program::new("ip").args(args).run().fine();
}
