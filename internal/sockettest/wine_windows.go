package sockettest

import (
	"testing"

	"golang.org/x/sys/windows"
)

// NeedRealWindows skips the test under Wine, which cannot do what is said.
func NeedRealWindows(t testing.TB, what string) {
	t.Helper()
	if windows.NewLazySystemDLL("ntdll.dll").NewProc("wine_get_version").Find() == nil {
		t.Skip("Wine cannot do this: " + what)
	}
}
