package core

// Because returns an error that says in words what the errors in it say by number: errors.Is finds those.
func Because(text string, is ...error) error { return &cause{text, is} }

type cause struct {
	text string
	is   []error
}

func (e *cause) Error() string   { return e.text }
func (e *cause) Unwrap() []error { return e.is }
