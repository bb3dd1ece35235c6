//! A worker's connection slots, and the requests in flight of each.

use super::connection::{Connection, InFlight};
use super::plan::{Plan, Share};

/// The slots, numbered from 0 within their worker.
#[derive(Debug)]
pub(super) struct Slots {
    connections: Vec<Connection>,
    /// The requests in flight of pipelines, a ring for each slot; without a pipeline a connection keeps its own.
    rings: Vec<InFlight>,
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
