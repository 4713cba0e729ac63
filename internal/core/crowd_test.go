package core

import "testing"

// run has a pace accept from a queue to which more connections come before each turn, until turns have passed or, if that is 0, until the queue
// is empty. It returns how many turns there were and how many tries were in vain.
func (p *pace) run(turns, queued, more int, busy bool) (turn, vain int) {
	for turn = 0; turn < turns || turns == 0 && queued > 0; turn++ {
		queued += more
		found := min(queued, p.tries)
		if found < p.tries {
			vain++
		}
		queued -= found
		p.learn(found, busy)
	}
	return turn, vain
}

// Connections that come one by one are nearly all accepted by a try each, whatever came before them.
func TestPaceOneByOne(t *testing.T) {
	for _, before := range []int{0, 1, 2, 3, 1000} {
		p := pace{tries: 1}
		p.run(0, before, 0, false)
		if _, vain := p.run(6400, 0, 1, false); vain > 110 {
			t.Errorf("after a queue of %d, of 6400 tries for one connection each %d were followed by one in vain", before, vain)
		}
	}
}

// A queue is accepted in few turns, also where connections have come one by one before; at once where turns are long.
func TestPaceOfAQueue(t *testing.T) {
	for _, before := range []int{0, 10, 1000} {
		for busy, most := range map[bool]int{false: mostVain + 10 + 6400/mostTries, true: 10 + 6400/mostTries} {
			p := pace{tries: 1}
			p.run(before, 0, 1, false)
			if turns, vain := p.run(0, 6400, 0, busy); turns > most || vain > 1 {
				t.Errorf("after %d that came one by one a queue of 6400 has taken %d turns (busy: %t), want at most %d, and %d tries in vain",
					before, turns, busy, most, vain)
			}
		}
	}
}
