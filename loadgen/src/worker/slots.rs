//! A worker's connection slots, and the requests in flight of each.

use super::connection::{Connection, InFlight};
use super::plan::{Plan, Share};
use crate::protocol::tls::Session;

/// The slots, numbered from 0 within their worker.
#[derive(Debug)]
pub(super) struct Slots {
    connections: Vec<Connection>,
    /// The requests in flight of pipelines, a ring for each slot; without a pipeline a connection keeps its own.
    rings: Vec<InFlight>,
    /// The sessions of TLS, one for each slot that has a socket; none where nobody speaks it.
    sessions: Vec<Option<Session>>,
    pipeline: u64,
}

impl Slots {
    pub(super) fn new(plan: &Plan, share: Share) -> Self {
        let connection = |number: u64| Connection::new(number as u32, number < plan.load.conns);
        let connections: Vec<_> = (0..share.slots)
            .map(|slot| connection(share.number(slot)))
            .collect();
        let pipeline = plan.load.pipeline;
        let in_rings = match pipeline {
            1 => 0,
            pipeline => connections.len() * pipeline as usize,
        };
        Self {
            rings: vec![InFlight::default(); in_rings],
            sessions: match plan.tls {
                Some(_) => connections.iter().map(|_| None).collect(),
                None => Vec::new(),
            },
            connections,
            pipeline,
        }
    }

    #[inline]
    pub(super) fn slot(&self, slot: u32) -> &Connection {
        &self.connections[slot as usize]
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, slot: u32) -> &mut Connection {
        &mut self.connections[slot as usize]
    }

    /// Whether TLS is spoken.
    #[inline]
    pub(super) fn have_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// The session of a slot.
    pub(super) fn session(&self, slot: u32) -> Option<&Session> {
        self.sessions.get(slot as usize)?.as_ref()
    }

    /// A slot, and its session to be changed.
    pub(super) fn with_session(&mut self, slot: u32) -> (&Connection, Option<&mut Session>) {
        let session = self.sessions.get_mut(slot as usize);
        (
            &self.connections[slot as usize],
            session.and_then(Option::as_mut),
        )
    }

    /// Gives a slot another session, or none.
    pub(super) fn set_session(&mut self, slot: u32, session: Option<Session>) {
        if let Some(place) = self.sessions.get_mut(slot as usize) {
            *place = session;
        }
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Connection> {
        self.connections.get(slot as usize)
    }

    pub(super) fn len(&self) -> u32 {
        self.connections.len() as u32
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.connections.iter()
    }

    /// The request in flight of this number.
    #[inline]
    pub(super) fn in_flight(&self, slot: u32, sequence: u64) -> InFlight {
        match self.ring_index(slot, sequence) {
            Some(index) => self.rings[index],
            None => self.slot(slot).in_flight_alone,
        }
    }

    /// Keeps a request that is put in flight.
    #[inline]
    pub(super) fn keep(&mut self, slot: u32, sequence: u64, entry: InFlight) {
        match self.ring_index(slot, sequence) {
            Some(index) => self.rings[index] = entry,
            None => self.slot_mut(slot).in_flight_alone = entry,
        }
    }

    #[inline]
    fn ring_index(&self, slot: u32, sequence: u64) -> Option<usize> {
        let pipeline = self.pipeline;
        (pipeline > 1).then(|| (u64::from(slot) * pipeline + sequence % pipeline) as usize)
    }
}
