package loop

// AfterRun is for this module's sockets. It has f called each time that Run returns, on Run's goroutine, until stop is called: from then on the
// loop handles nothing until it runs again, and who waits for what it handles must see for himself. It may be called from any goroutine; f must
// not wait.
func (l *Loop) AfterRun(f func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.afterRun == nil {
		l.afterRun = make(map[*func()]struct{})
	}
	l.afterRun[&f] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.afterRun, &f)
	}
}

// tellAfterRun calls who asked for it.
func (l *Loop) tellAfterRun() {
	l.mu.Lock()
	var told []func()
	for f := range l.afterRun {
		told = append(told, *f)
	}
	l.mu.Unlock()
	for _, f := range told {
		f()
	}
}
