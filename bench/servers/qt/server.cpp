// Qt's server: QLocalServer by path, QTcpServer by port.
//
//	server ADDRESS echo|sink
#include <QCoreApplication>
#include <QLocalServer>
#include <QLocalSocket>
#include <QTcpServer>
#include <QTcpSocket>
#include <cstdio>

template <class Server, class Socket> void serve(Server &server, bool echo) {
	QObject::connect(&server, &Server::newConnection, [&server, echo] {
		while (Socket *c = static_cast<Socket *>(server.nextPendingConnection())) {
			QObject::connect(c, &Socket::readyRead, [c, echo] {
				QByteArray b = c->readAll();
				if (echo)
					c->write(b);
			});
			QObject::connect(c, &Socket::disconnected, c, &QObject::deleteLater);
		}
	});
	std::printf("ready\n");
	std::fflush(stdout);
}

int main(int argc, char **argv) {
	QCoreApplication app(argc, argv);
	QString address = QString::fromLocal8Bit(argv[1]);
	bool echo = QString(argv[2]) == "echo";
	if (address.startsWith('/')) {
		static QLocalServer server;
		server.setMaxPendingConnections(10000);
		if (!server.listen(address))
			return std::fprintf(stderr, "%s\n", qPrintable(server.errorString())), 1;
		serve<QLocalServer, QLocalSocket>(server, echo);
	} else {
		static QTcpServer server;
		server.setMaxPendingConnections(10000);
		if (!server.listen(QHostAddress::LocalHost, address.toUShort()))
			return std::fprintf(stderr, "%s\n", qPrintable(server.errorString())), 1;
		serve<QTcpServer, QTcpSocket>(server, echo);
	}
	return app.exec();
}
