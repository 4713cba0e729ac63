// Server qt is QLocalServer and QTcpServer, of Qt 5.15 or Qt 6, used as their documentation shows. QIODevice gathers what is written until the
// event loop's next turn.
//
//     server unix:PATH|tcp:HOST:PORT echo|sink|push|close

#include <QCoreApplication>
#include <QLocalServer>
#include <QLocalSocket>
#include <QTcpServer>
#include <QTcpSocket>
#include <QtEndian>

#include <cstdio>
#include <memory>

namespace {

QByteArray mode;
constexpr int batch = 1024;

template <typename Socket>
void push(Socket *socket, quint64 *left)
{
    static const QByteArray message = QByteArray("one message of the stream").leftJustified(64, '\0');
    for (int i = 0; i < batch && *left > 0; i++, --*left)
        socket->write(message);
}

template <typename Socket>
void serve(Socket *socket)
{
    if (mode == "close") {
        socket->abort();
        socket->deleteLater();
        return;
    }
    QObject::connect(socket, &Socket::disconnected, socket, &QObject::deleteLater);
    if (mode == "echo") {
        QObject::connect(socket, &QIODevice::readyRead, socket, [socket] { socket->write(socket->readAll()); });
    } else if (mode == "sink") {
        QObject::connect(socket, &QIODevice::readyRead, socket, [socket] { socket->readAll(); });
    } else if (mode == "push") {
        auto left = std::make_shared<quint64>(0);
        QObject::connect(socket, &QIODevice::readyRead, socket, [socket, left] {
            const QByteArray request = socket->readAll();
            if (request.size() == 8) {
                *left = qFromLittleEndian<quint64>(request.constData());
                push(socket, left.get());
            }
        });
        QObject::connect(socket, &QIODevice::bytesWritten, socket, [socket, left] {
            if (*left > 0 && socket->bytesToWrite() < 64 * batch)
                push(socket, left.get());
        });
    }
}

int listening(bool ok, const QString &error)
{
    if (!ok) {
        std::fprintf(stderr, "%s\n", qPrintable(error));
        return 1;
    }
    std::puts("ready");
    std::fflush(stdout);
    return QCoreApplication::exec();
}

} // namespace

int main(int argc, char **argv)
{
    QCoreApplication app(argc, argv);
    const QStringList args = app.arguments();
    if (args.size() != 3) {
        std::fprintf(stderr, "usage: server unix:PATH|tcp:HOST:PORT echo|sink|push|close\n");
        return 2;
    }
    mode = args[2].toUtf8();
    const QString address = args[1].section(':', 1);
    if (args[1].startsWith("unix:")) {
        QLocalServer server;
        server.setMaxPendingConnections(1 << 16);
        QObject::connect(&server, &QLocalServer::newConnection, &server, [&server] {
            while (QLocalSocket *socket = server.nextPendingConnection())
                serve(socket);
        });
        return listening(server.listen(address), server.errorString());
    }
    QTcpServer server;
    server.setMaxPendingConnections(1 << 16);
    QObject::connect(&server, &QTcpServer::newConnection, &server, [&server] {
        while (QTcpSocket *socket = server.nextPendingConnection()) {
            socket->setSocketOption(QAbstractSocket::LowDelayOption, 1);
            serve(socket);
        }
    });
    return listening(server.listen(QHostAddress(address.section(':', 0, 0)), address.section(':', 1).toUShort()), server.errorString());
}
