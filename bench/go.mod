module anteroom/bench

go 1.26.0

replace anteroom => ../

require (
	anteroom v0.0.0
	github.com/cloudwego/netpoll v0.7.2
	golang.org/x/sys v0.50.0
)

require (
	github.com/bytedance/gopkg v0.1.1 // indirect
	github.com/cloudwego/gopkg v0.1.4 // indirect
)
