//! What is compared: workloads, over which transport, in which direction.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::contenders::Who;

/// One thing that every contender does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scenario {
    pub work: Work,
    /// How much one operation sends, in bytes.
    pub size: usize,
    pub transport: Transport,
    pub direction: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Many writes, flushed at the end.
    Writes,
    /// Many writes, each flushed.
    FlushedWrites,
    /// A request, and its response of the same size.
    Exchange,
    /// One write, which is waited for.
    HugeWrite,
    /// Lines through `LinesCodec`, flushed at the end.
    Lines,
    /// Frames through `LengthDelimitedCodec`, flushed at the end.
    Frames,
    /// Writes that come back, in two tasks.
    Duplex,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// `tokio::io::duplex` of 256 KiB.
    Pipe,
    /// A loopback connection without Nagle's algorithm, and without pacing.
    Tcp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Masked.
    ToServer,
    /// Not masked.
    ToClient,
    /// There and back.
    Both,
}

/// Every scenario, in the order of the report.
pub fn all() -> Vec<Scenario> {
    let mut scenarios = Vec::new();
    for (work, sizes) in WORK {
        let directions: &[Direction] = match work {
            Work::Exchange | Work::Duplex => &[Direction::Both],
            _ => &[Direction::ToServer, Direction::ToClient],
        };
        for &size in *sizes {
            for transport in [Transport::Tcp, Transport::Pipe] {
                for &direction in directions {
                    scenarios.push(Scenario { work: *work, size, transport, direction });
                }
            }
        }
    }
    scenarios
}

impl Scenario {
    /// What one operation is, for "ns per …".
    pub fn operation(self) -> &'static str {
        match self.work {
            Work::Writes | Work::FlushedWrites | Work::HugeWrite => "write",
            Work::Exchange => "exchange",
            Work::Lines => "line",
            Work::Frames => "frame",
            Work::Duplex => "write and its echo",
        }
    }

    /// Whether `who` takes part.
    pub fn suits(self, who: Who) -> bool {
        match who {
            // collects, for which there has to be something to collect
            Who::OursCollected => self.work != Work::HugeWrite,
            Who::FastwebsocketsBuffered => self.work == Work::Writes,
            _ => true,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let work = match self.work {
            Work::Writes => "writes of",
            Work::FlushedWrites => "flushed writes of",
            Work::Exchange => "requests and responses of",
            Work::HugeWrite => "one write of",
            Work::Lines => "LinesCodec, lines of",
            Work::Frames => "LengthDelimitedCodec, frames of",
            Work::Duplex => "two tasks and an echo, writes of",
        };
        let transport = match self.transport {
            Transport::Pipe => "pipe",
            Transport::Tcp => "tcp",
        };
        let direction = match self.direction {
            Direction::ToServer => ", client to server",
            Direction::ToClient => ", server to client",
            Direction::Both => "",
        };
        write!(f, "{work} {}, {transport}{direction}", Size(self.size))
    }
}

/// A number of bytes, for people.
pub struct Size(pub usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            size if size >= MIB => write!(f, "{} MiB", size / MIB),
            size if size >= KIB => write!(f, "{} KiB", size / KIB),
            size => write!(f, "{size} B"),
        }
    }
}

/// What is measured, and at which sizes.
const WORK: &[(Work, &[usize])] = &[
    (Work::Writes, &[64, KIB, 16 * KIB, 64 * KIB, MIB]),
    (Work::FlushedWrites, &[64, KIB]),
    (Work::Exchange, &[64, 4 * KIB]),
    (Work::HugeWrite, &[MIB, 4 * MIB, 8 * MIB, 15 * MIB, 64 * MIB]),
    (Work::Lines, &[64]),
    (Work::Frames, &[KIB]),
    (Work::Duplex, &[KIB, 16 * KIB]),
];

pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * KIB;
