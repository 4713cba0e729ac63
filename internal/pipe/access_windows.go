package pipe

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
)

// An Access says who may connect; 0 stands for the system's default, which lets the user, administrators and the system in, and everybody read.
type Access uint8

const (
	User  Access = 1 << iota // the user of this process
	Group                    // the primary group of this process
	World                    // everybody
)

// attributes returns what makes a pipe that lets those in whom a names, and nobody else; nil stands for the system's default.
func (a Access) attributes() (*windows.SecurityAttributes, error) {
	if a == 0 {
		return nil, nil
	}
	token := windows.GetCurrentProcessToken()
	user, err := token.GetTokenUser()
	if err != nil {
		return nil, err
	}
	group, err := token.GetTokenPrimaryGroup()
	if err != nil {
		return nil, err
	}
	u, g := user.User.Sid.String(), group.PrimaryGroup.String()
	var sddl strings.Builder
	sddl.WriteString("O:" + u + "G:" + g + "D:")
	for _, who := range []struct {
		bit Access
		sid string
	}{{User, u}, {Group, g}, {World, "WD"}} {
		if a&who.bit != 0 {
			sddl.WriteString("(A;;FA;;;" + who.sid + ")")
		}
	}
	sd, err := windows.SecurityDescriptorFromString(sddl.String())
	if err != nil {
		return nil, err
	}
	return &windows.SecurityAttributes{Length: uint32(unsafe.Sizeof(windows.SecurityAttributes{})), SecurityDescriptor: sd}, nil
}
