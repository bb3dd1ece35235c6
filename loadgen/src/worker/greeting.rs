//! What a server says before it is sent anything.

use super::Worker;
use super::connection::InFlight;
use crate::protocol::Received;

impl Worker {
    /// Reads a piece of the greeting; returns whether the connection is still open.
    pub(super) fn receive_greeting(&mut self, slot: u32, input: &[u8]) -> bool {
        let id = self.request_id(slot, self.slots.slot(slot).answered);
        let framing = &mut self.slots.slot_mut(slot).framing;
        match self.plan.protocol.receive_greeting(framing, id, input) {
            Received::More => true,
            Received::Done { consumed, .. } => {
                self.let_go(slot);
                if consumed < input.len() {
                    self.unasked_answer(slot, &input[consumed..]);
                    return false;
                }
                self.proceed(slot)
            }
            Received::Mismatch => {
                self.wrong_answer(slot, "MISMATCH");
                false
            }
            Received::Garbage => {
                self.wrong_answer(slot, "PROTOCOL");
                false
            }
        }
    }

    /// What was held back is sent from now on, and timed from now on: how long the server took to greet is in the time
    /// to the first byte. Under a schedule it is due when that says.
    pub(super) fn let_go(&mut self, slot: u32) {
        let connection = self.slots.slot_mut(slot);
        connection.held_back = false;
        connection.free_ns = self.clock.now_ns;
        for sequence in connection.answered..connection.begun {
            let entry = self.slots.in_flight(slot, sequence);
            let due_ns = match self.plan.schedule {
                Some(_) => entry.due_ns,
                None => self.clock.now_ns,
            };
            let sent_ns = self.clock.now_ns;
            self.slots.keep(
                slot,
                sequence,
                InFlight {
                    due_ns,
                    sent_ns,
                    ..entry
                },
            );
        }
    }
}
