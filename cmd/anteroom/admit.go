package main

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"anteroom/local"
)

// An admission says who may come in: the listed users, and those of the listed groups. Nobody is implied, not even this program's user.
type admission struct {
	uids, gids []int
}

// addUsers and addGroups add what a flag lists, by numbers or by names.

func (a *admission) addUsers(s string) error  { return addIDs(&a.uids, s, "user", lookupUser) }
func (a *admission) addGroups(s string) error { return addIDs(&a.gids, s, "group", lookupGroup) }

func addIDs(to *[]int, s, kind string, lookup func(name string) (string, error)) error {
	for word := range strings.SplitSeq(s, ",") {
		id, err := parseID(word, kind, lookup)
		if err != nil {
			return err
		}
		*to = append(*to, id)
	}
	return nil
}

// parseID reads the number, or the name, of a user or a group. As in chown(1), a name may look like a number.
func parseID(s, kind string, lookup func(name string) (string, error)) (int, error) {
	number, err := lookup(s)
	if err != nil {
		number = s
	}
	id, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("there is no %s %q", kind, s)
	}
	return int(id), nil
}

func lookupUser(name string) (string, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return "", err
	}
	return u.Uid, nil
}

func lookupGroup(name string) (string, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return "", err
	}
	return g.Gid, nil
}

// asked reports whether somebody is listed, and so everybody else refused.
func (a *admission) asked() bool { return len(a.uids)+len(a.gids) > 0 }

// admit is for (*local.Server).SetAdmit.
func (a *admission) admit(p local.Peer) error {
	if slices.Contains(a.uids, p.UID) || slices.ContainsFunc(a.gids, p.InGroup) {
		return nil
	}
	return fmt.Errorf("%s may not connect", peerText(p))
}
