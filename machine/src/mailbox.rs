//! Bounded queues by priority. A full lane returns the item to the sender: nothing is dropped silently.

use alloc::collections::VecDeque;

use crate::Lane;

/// The largest number of items in each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Items in [`Lane::Control`].
    pub control: u32,
    /// Items in [`Lane::User`].
    pub user: u32,
    /// Items in [`Lane::Data`].
    pub data: u32,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            control: 1024,
            user: 256,
            data: 1024,
        }
    }
}

/// Three first-in first-out lanes with strict priority. Empty lanes own no memory.
#[derive(Debug)]
pub struct Mailbox<T> {
    lanes: [VecDeque<T>; 3],
    capacity: Capacity,
}

impl<T> Mailbox<T> {
    /// Returns an empty mailbox.
    #[must_use]
    pub const fn new(capacity: Capacity) -> Self {
        Self {
            lanes: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            capacity,
        }
    }

    /// Puts `item` at the end of `lane`.
    ///
    /// # Errors
    /// The item, when the lane is full.
    pub fn offer(&mut self, lane: Lane, item: T) -> Result<(), T> {
        let (queue, capacity) = match lane {
            Lane::Control => (&mut self.lanes[0], self.capacity.control),
            Lane::User => (&mut self.lanes[1], self.capacity.user),
            Lane::Data => (&mut self.lanes[2], self.capacity.data),
        };
        if queue.len() >= capacity as usize {
            return Err(item);
        }
        if queue.capacity() == 0 {
            // Reserve for one item: most often one event comes and is taken, and the lane gives its memory
            // back.
            queue.reserve_exact(1);
        }
        queue.push_back(item);
        Ok(())
    }

    /// Takes the oldest item of the first lane that has one.
    pub fn pop(&mut self) -> Option<T> {
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Takes the oldest item of [`Lane::Control`].
    pub fn pop_control(&mut self) -> Option<T> {
        self.lanes[0].pop_front()
    }

    /// Returns the number of items in all lanes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Returns whether no lane holds an item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Moves every item to the end of the same lane of `target`, even past its capacity. An empty lane of the
    /// target swaps its memory with the full one, so that a batch costs no copy.
    pub fn drain_into(&mut self, target: &mut Self) {
        for (from, to) in self.lanes.iter_mut().zip(&mut target.lanes) {
            move_all(from, to);
        }
    }

    /// Works like [`Mailbox::drain_into`], for [`Lane::Control`] only.
    pub fn drain_control_into(&mut self, target: &mut Self) {
        move_all(&mut self.lanes[0], &mut target.lanes[0]);
    }

    /// Keeps the items for which `keep` is true.
    pub fn retain_mut(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        for lane in &mut self.lanes {
            lane.retain_mut(&mut keep);
        }
    }

    /// Frees the memory of empty lanes.
    pub fn shrink(&mut self) {
        for lane in &mut self.lanes {
            if lane.is_empty() && lane.capacity() > 0 {
                *lane = VecDeque::new();
            }
        }
    }
}

fn move_all<T>(from: &mut VecDeque<T>, to: &mut VecDeque<T>) {
    if to.is_empty() {
        core::mem::swap(from, to);
    } else {
        to.append(from);
    }
}
