//! Who is woken is polled, until nobody is.

use super::Endpoint;
use crate::pipe::Event;

/// Polls everybody who is woken until nobody is. Wake-ups that are late come first. Then nobody sleeps
/// who could go on.
pub fn settle(ends: &mut [Endpoint], is_writer_first: bool) {
    for end in &*ends {
        end.end.happen(Event::HoldWakes(false));
    }
    poll_woken(ends, is_writer_first);
    // one after the other, as what they do may wake the others
    for index in 0..ends.len() {
        ends[index].check_asleep();
        poll_woken(ends, is_writer_first);
    }
}

fn poll_woken(ends: &mut [Endpoint], is_writer_first: bool) {
    let mut idle_polls = 0;
    loop {
        let before = progress(ends);
        let is_woken = |end: &mut Endpoint| end.poll_woken(is_writer_first);
        // all of them
        if ends.iter_mut().filter_map(|end| is_woken(end).then_some(())).count() == 0 {
            return;
        }
        idle_polls = if progress(ends) == before { idle_polls + 1 } else { 0 };
        assert!(idle_polls < MAX_IDLE_POLLS, "those who are woken do not come to rest");
    }
}

fn progress(ends: &[Endpoint]) -> u64 {
    ends.iter().map(Endpoint::progress).sum()
}

/// Takes everything out of the way but failures: the observers take all events.
pub fn unblock(ends: &mut [Endpoint]) {
    for end in &*ends {
        end.end.unblock();
    }
    settle(ends, false);
    let mut before = u64::MAX;
    while progress(ends) != before {
        before = progress(ends);
        ends.iter_mut().for_each(Endpoint::watch_all);
        settle(ends, true);
    }
    ends.iter().for_each(Endpoint::check_at_rest);
}

/// How often everybody may be polled in vain.
const MAX_IDLE_POLLS: usize = 2000;
