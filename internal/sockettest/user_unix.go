//go:build unix

package sockettest

import "syscall"

// BecomeUser makes a child process another user, with the group of the same number and no other.
func BecomeUser(id int) error {
	if err := syscall.Setgroups(nil); err != nil {
		return err
	}
	if err := syscall.Setgid(id); err != nil {
		return err
	}
	return syscall.Setuid(id)
}
