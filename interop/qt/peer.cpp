//go:build ignore

// The other end of an interoperability test, on real Qt: one program for Qt 5.15 and Qt 6, without moc.
//
//     g++ -std=c++17 -O1 -fPIC peer.cpp -o peer5 $(pkg-config --cflags --libs Qt5Network)
//
// (The first line keeps the go command from taking this file for cgo.)
//
// Usage: peer --version, or peer MODE NAME [OPTION…]. NAME is what QLocalServer::listen takes, or HOST:PORT. A mode is local- or tcp- with one of:
//
//     fortune-server   sends --text as one QString by QDataStream and disconnects, as Qt's examples do
//     fortune-client   fetches one: fortune TEXT
//     echo-server      sends back what comes
//     send             connects, sends --bytes bytes of the pattern, disconnects: sent COUNT sha256 HEX
//     recv             connects, reads to the end: received COUNT sha256 HEX
//     send-server      the same as a server
//     recv-server      the same as a server
//     client-script    one socket, moved by commands on stdin
//     server-script    one server, moved by commands on stdin
//
//     --text TEXT      the fortune
//     --form FORM      how fortunes are written: string (a QString, as Qt's examples do now), block (its size in bytes as quint16 before it, as they did
//                      in Qt 5.4) or units (its length in UTF-16 units as quint32 before it, as the local ones did in Qt 5.15)
//     --bytes N        how much to send; byte i of the pattern is (i*7 + i/251) % 256
//     --count N        connections to make one after another (default 1), or to serve before exiting (default: no end)
//     --access WHO     user, group, other or world; may be repeated (QLocalServer)
//     --abstract       Linux's abstract namespace; needs Qt 6.2
//
// Events go to stdout, a line each; words for people go to stderr. A server says "listening NAME" (the full name) or "listen-error CODE TEXT", and
// "newConnection". Every mode says "error CODE TEXT" for errorOccurred. Text and data are escaped: \\, \n, and \xNN for other control characters.
//
// A script's objects start as their constructors made them. Each signal is a line: state N, connected, disconnected, error CODE TEXT, readyRead AVAILABLE,
// bytesWritten N, readChannelFinished. Those of a server's second connection and later start with "2: ". Each command is answered by "= COMMAND RESULT",
// after the signals that it caused. Commands that come in one write are run with no turn of the event loop between:
//
//     connect [r|w]         close          write N (the pattern, going on where the last write stopped)      state
//     disconnect            flush          write-text TEXT       write-line TEXT                             error
//     abort                 readbuffer N   read N                readline             readall                bytes (available, to write)
//     digest (reads all: COUNT sha256 HEX)
//     wait-connected MS     wait-ready MS  wait-written MS       wait-disconnected MS                        name (name, full name; or port, address)
//     server: listen        next           use N                 wait-new MS          max N      pending     server-error     close-server
//     server, tcp only: pause               resume
//     quit
//
// Exit status: 0 done, 1 failed, 2 usage, 77 this Qt cannot. A server, and a script, also ends when stdin does and on SIGTERM, and removes its socket file.

#include <QCoreApplication>
#include <QCryptographicHash>
#include <QDataStream>
#include <QLocalServer>
#include <QLocalSocket>
#include <QSocketNotifier>
#include <QTcpServer>
#include <QTcpSocket>
#include <QTimer>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <type_traits>
#include <unistd.h>
#include <vector>

#if QT_VERSION < QT_VERSION_CHECK(5, 15, 0)
#error "errorOccurred needs Qt 5.15"
#endif

namespace {

struct Options {
    QString name;
    QString text = "You've been leading a dog's life. Stay off the furniture.";
    QByteArray form = "string";
    qint64 bytes = 0;
    int count = 0;
    QLocalServer::SocketOptions access = QLocalServer::NoOptions;
    bool abstract = false;
};

int status = 0;

void fail() { status = 1; }

void say(const QByteArray &line)
{
    fwrite(line.constData(), 1, size_t(line.size()), stdout);
    fputc('\n', stdout);
    fflush(stdout);
}

QByteArray num(qint64 n) { return QByteArray::number(n); }

QByteArray truth(bool b) { return b ? "true" : "false"; }

// escaped keeps any bytes on one line.
QByteArray escaped(const QByteArray &raw)
{
    QByteArray out;
    for (char c : raw) {
        if (c == '\\')
            out += "\\\\";
        else if (c == '\n')
            out += "\\n";
        else if (uchar(c) < 0x20 || c == 0x7f)
            out += "\\x" + QByteArray(1, c).toHex();
        else
            out += c;
    }
    return out;
}

QByteArray pattern(qint64 from, qint64 n)
{
    QByteArray b(int(n), Qt::Uninitialized);
    for (qint64 i = 0; i < n; ++i)
        b[int(i)] = char((from + i) * 7 + (from + i) / 251);
    return b;
}

QByteArray sha256(const QByteArray &data) { return QCryptographicHash::hash(data, QCryptographicHash::Sha256).toHex(); }

#if QT_VERSION >= QT_VERSION_CHECK(6, 0, 0)
const auto streamVersion = QDataStream::Qt_6_0;
#else
const auto streamVersion = QDataStream::Qt_5_15;
#endif

// writeFortune is what Qt's example servers do, each in its time.
void writeFortune(QIODevice *device, const Options &o)
{
    if (o.form == "string") {
        QDataStream out(device);
        out.setVersion(streamVersion);
        out << o.text;
        return;
    }
    QByteArray block;
    QDataStream out(&block, QIODevice::WriteOnly);
    out.setVersion(QDataStream::Qt_4_0);
    if (o.form == "block") {
        out << quint16(0) << o.text;
        out.device()->seek(0);
        out << quint16(block.size() - int(sizeof(quint16)));
    } else {
        out << quint32(o.text.size()) << o.text;
    }
    device->write(block);
}

// readFortune is what the clients do: it returns false, and reads nothing, until all is there.
bool readFortune(QIODevice *device, const Options &o, QString &text)
{
    QDataStream in(device);
    in.setVersion(o.form == "string" ? streamVersion : QDataStream::Qt_4_0);
    in.startTransaction();
    quint16 bytes = 0;
    quint32 units = 0;
    if (o.form == "block")
        in >> bytes;
    else if (o.form == "units")
        in >> units;
    in >> text;
    if (!in.commitTransaction())
        return false;
    if ((o.form == "block" && bytes != 4 + 2 * text.size()) || (o.form == "units" && units != quint32(text.size()))) {
        say("another length was announced");
        fail();
    }
    return true;
}

template <class Object> QByteArray errorOf(int code, const Object *o) { return num(code) + ' ' + o->errorString().toUtf8(); }

// Net says what the two families call differently.
template <class Socket> struct Net;

template <> struct Net<QLocalSocket> {
    using Server = QLocalServer;

    static void connect(QLocalSocket *s, const Options &o, QIODevice::OpenMode mode)
    {
#if QT_VERSION >= QT_VERSION_CHECK(6, 2, 0)
        if (o.abstract)
            s->setSocketOptions(QLocalSocket::AbstractNamespaceOption);
#endif
        s->connectToServer(o.name, mode);
    }

    static void disconnect(QLocalSocket *s) { s->disconnectFromServer(); }

    static bool listen(QLocalServer *l, const Options &o)
    {
        QLocalServer::SocketOptions options = o.access;
#if QT_VERSION >= QT_VERSION_CHECK(6, 2, 0)
        if (o.abstract)
            options |= QLocalServer::AbstractNamespaceOption;
#endif
        l->setSocketOptions(options);
        return l->listen(o.name);
    }

    static QString where(const QLocalServer *l) { return l->fullServerName(); }
    static QString names(const QLocalSocket *s) { return s->serverName() + ' ' + s->fullServerName(); }
};

template <> struct Net<QTcpSocket> {
    using Server = QTcpServer;

    static QString host(const Options &o) { return o.name.left(o.name.lastIndexOf(':')).remove('[').remove(']'); }
    static quint16 port(const Options &o) { return o.name.mid(o.name.lastIndexOf(':') + 1).toUShort(); }

    static void connect(QTcpSocket *s, const Options &o, QIODevice::OpenMode mode) { s->connectToHost(host(o), port(o), mode); }
    static void disconnect(QTcpSocket *s) { s->disconnectFromHost(); }
    static bool listen(QTcpServer *l, const Options &o) { return l->listen(QHostAddress(host(o)), port(o)); }

    static QString where(const QTcpServer *l)
    {
        const QString address = l->serverAddress().toString();
        return (address.contains(':') ? '[' + address + ']' : address) + ':' + QString::number(l->serverPort());
    }

    static QString names(const QTcpSocket *s) { return QString::number(s->peerPort()) + ' ' + s->peerAddress().toString(); }
};

template <class Socket> bool listen(typename Net<Socket>::Server *server, const Options &o)
{
    const bool ok = Net<Socket>::listen(server, o);
    if (ok)
        say("listening " + Net<Socket>::where(server).toUtf8());
    else
        say("listen-error " + errorOf(int(server->serverError()), server));
    return ok;
}

// serve runs one connected socket's part of a mode, and calls done at the socket's end.
template <class Socket> void serve(const QByteArray &part, Socket *s, const Options &o, std::function<void()> done)
{
    if (part == "fortune-server") {
        QObject::connect(s, &Socket::disconnected, s, done);
        writeFortune(s, o);
        s->flush();
        Net<Socket>::disconnect(s);
    } else if (part == "fortune-client") {
        auto complete = std::make_shared<bool>(false);
        QObject::connect(s, &Socket::readyRead, s, [=] {
            QString fortune;
            if (!readFortune(s, o, fortune))
                return;
            *complete = true;
            say("fortune " + escaped(fortune.toUtf8()));
        });
        QObject::connect(s, &Socket::disconnected, s, [=] {
            if (!*complete || s->bytesAvailable() > 0) {
                say("not one fortune");
                fail();
            }
            done();
        });
    } else if (part == "echo-server") {
        QObject::connect(s, &Socket::readyRead, s, [=] { s->write(s->readAll()); });
        QObject::connect(s, &Socket::disconnected, s, done);
    } else if (part.startsWith("send")) {
        auto sent = std::make_shared<qint64>(0);
        QObject::connect(s, &Socket::bytesWritten, s, [=](qint64 n) { *sent += n; });
        QObject::connect(s, &Socket::disconnected, s, [=] {
            say("sent " + num(*sent) + " sha256 " + sha256(pattern(0, *sent)));
            if (*sent != o.bytes)
                fail();
            done();
        });
        // All at once: that disconnecting loses nothing of a full buffer is what the tests ask.
        s->write(pattern(0, o.bytes));
        Net<Socket>::disconnect(s);
    } else {
        auto received = std::make_shared<QByteArray>();
        QObject::connect(s, &Socket::readyRead, s, [=] { *received += s->readAll(); });
        QObject::connect(s, &Socket::disconnected, s, [=] {
            *received += s->readAll();
            say("received " + num(received->size()) + " sha256 " + sha256(*received));
            done();
        });
    }
}

template <class Socket> int runServer(const QByteArray &part, const Options &o)
{
    int served = 0; // outlives the server, whose destructor still ends connections
    typename Net<Socket>::Server server;
    QObject::connect(&server, &Net<Socket>::Server::newConnection, &server, [&] {
        while (Socket *s = qobject_cast<Socket *>(server.nextPendingConnection())) {
            say("newConnection");
            QObject::connect(s, &Socket::errorOccurred, s, [=](auto code) { say("error " + errorOf(int(code), s)); });
            serve(part, s, o, [=, &served] {
                s->deleteLater();
                if (++served == o.count)
                    qApp->quit();
            });
        }
    });
    if (!listen<Socket>(&server, o))
        return 1;
    qApp->exec();
    return status;
}

template <class Socket> int runClient(const QByteArray &part, const Options &o)
{
    int done = 0;
    QObject *owner = nullptr;
    std::function<void()> next = [&] {
        auto s = new Socket(owner);
        QObject::connect(s, &Socket::errorOccurred, s, [=](auto code) {
            say("error " + errorOf(int(code), s));
            // The peer's end is followed by disconnected, a failure to connect by nothing.
            if (int(code) != QAbstractSocket::RemoteHostClosedError)
                qApp->exit(1);
        });
        QObject::connect(s, &Socket::connected, s, [=, &done, &next] {
            serve(part, s, o, [=, &done, &next] {
                s->deleteLater();
                if (++done < o.count)
                    QTimer::singleShot(0, qApp, next);
                else
                    qApp->exit(status);
            });
        });
        Net<Socket>::connect(s, o, QIODevice::ReadWrite);
    };
    QObject sockets; // goes first: a socket's destructor still calls back
    owner = &sockets;
    QTimer::singleShot(0, qApp, next); // not before exec, which would not see an exit
    return qApp->exec();
}

// watch prints a socket's signals, and first those that came before anybody could watch.
template <class Socket> void watch(Socket *s, const QByteArray &prefix)
{
    QObject::connect(s, &Socket::stateChanged, s, [=](auto state) { say(prefix + "state " + num(int(state))); });
    QObject::connect(s, &Socket::connected, s, [=] { say(prefix + "connected"); });
    QObject::connect(s, &Socket::disconnected, s, [=] { say(prefix + "disconnected"); });
    QObject::connect(s, &Socket::errorOccurred, s, [=](auto code) { say(prefix + "error " + errorOf(int(code), s)); });
    QObject::connect(s, &Socket::readyRead, s, [=] { say(prefix + "readyRead " + num(s->bytesAvailable())); });
    QObject::connect(s, &Socket::bytesWritten, s, [=](qint64 n) { say(prefix + "bytesWritten " + num(n)); });
    QObject::connect(s, &Socket::readChannelFinished, s, [=] { say(prefix + "readChannelFinished"); });
    if (s->bytesAvailable() > 0)
        say(prefix + "readyRead " + num(s->bytesAvailable()));
}

using Command = std::function<QByteArray(const QByteArray &)>;
using Commands = std::map<QByteArray, Command>;

// Connections holds a script's sockets; current is the one that commands move.
template <class Socket> struct Connections {
    struct Connection {
        Socket *socket;
        qint64 written; // of the pattern
    };
    std::vector<Connection> all;
    size_t current = 0;

    void add(Socket *s)
    {
        all.push_back({s, 0});
        current = all.size() - 1;
        watch(s, current == 0 ? QByteArray() : num(qint64(all.size())) + ": ");
    }
};

template <class Socket> void addSocketCommands(Commands &commands, Connections<Socket> &connections, const Options &o)
{
    // A command on no connection would be a crash; it is the test's mistake and is answered as such.
    auto add = [&](const char *name, std::function<QByteArray(Socket *, const QByteArray &)> f) {
        commands[name] = [&connections, f](const QByteArray &arg) -> QByteArray {
            return connections.all.empty() ? "no connection" : f(connections.all[connections.current].socket, arg);
        };
    };
    auto got = [](qint64 n, const QByteArray &buffer) { return num(n) + ' ' + escaped(buffer.left(int(qMax<qint64>(n, 0)))); };

    add("connect", [=](Socket *s, const QByteArray &arg) {
        const QIODevice::OpenMode mode = arg == "r" ? QIODevice::ReadOnly : arg == "w" ? QIODevice::WriteOnly : QIODevice::ReadWrite;
        Net<Socket>::connect(s, o, mode);
        return num(int(s->state()));
    });
    add("disconnect", [](Socket *s, const QByteArray &) { Net<Socket>::disconnect(s); return num(int(s->state())); });
    add("abort", [](Socket *s, const QByteArray &) { s->abort(); return num(int(s->state())); });
    add("close", [](Socket *s, const QByteArray &) { s->close(); return num(int(s->state())); });
    add("state", [](Socket *s, const QByteArray &) { return num(int(s->state())); });
    add("error", [](Socket *s, const QByteArray &) { return errorOf(int(s->error()), s); });
    add("bytes", [](Socket *s, const QByteArray &) { return num(s->bytesAvailable()) + ' ' + num(s->bytesToWrite()); });
    add("name", [](Socket *s, const QByteArray &) { return Net<Socket>::names(s).toUtf8(); });

    commands["write"] = [&](const QByteArray &arg) -> QByteArray {
        if (connections.all.empty())
            return "no connection";
        auto &c = connections.all[connections.current];
        const qint64 n = c.socket->write(pattern(c.written, arg.toLongLong()));
        c.written += qMax<qint64>(n, 0);
        return num(n);
    };
    add("write-text", [](Socket *s, const QByteArray &arg) { return num(s->write(arg)); });
    add("write-line", [](Socket *s, const QByteArray &arg) { return num(s->write(arg + '\n')); });
    add("flush", [](Socket *s, const QByteArray &) { return truth(s->flush()); });
    add("readbuffer", [](Socket *s, const QByteArray &arg) { s->setReadBufferSize(arg.toLongLong()); return num(s->readBufferSize()); });
    add("read", [=](Socket *s, const QByteArray &arg) {
        QByteArray buffer(arg.toInt(), '\0');
        return got(s->read(buffer.data(), buffer.size()), buffer);
    });
    add("readline", [=](Socket *s, const QByteArray &) {
        QByteArray buffer(1 << 16, '\0');
        return got(s->readLine(buffer.data(), buffer.size()), buffer);
    });
    add("readall", [=](Socket *s, const QByteArray &) {
        const QByteArray all = s->readAll();
        return got(all.size(), all);
    });

    add("digest", [](Socket *s, const QByteArray &) {
        const QByteArray all = s->readAll();
        return num(all.size()) + " sha256 " + sha256(all);
    });

    add("wait-connected", [](Socket *s, const QByteArray &arg) { return truth(s->waitForConnected(arg.toInt())); });
    add("wait-ready", [](Socket *s, const QByteArray &arg) { return truth(s->waitForReadyRead(arg.toInt())); });
    add("wait-written", [](Socket *s, const QByteArray &arg) { return truth(s->waitForBytesWritten(arg.toInt())); });
    add("wait-disconnected", [](Socket *s, const QByteArray &arg) { return truth(s->waitForDisconnected(arg.toInt())); });
}

template <class Socket> void addServerCommands(Commands &commands, Connections<Socket> &connections, typename Net<Socket>::Server &server, const Options &o)
{
    commands["listen"] = [&](const QByteArray &) { return truth(listen<Socket>(&server, o)); };
    commands["next"] = [&](const QByteArray &) -> QByteArray {
        auto s = qobject_cast<Socket *>(server.nextPendingConnection());
        if (!s)
            return "none";
        connections.add(s);
        return num(qint64(connections.all.size()));
    };
    commands["use"] = [&](const QByteArray &arg) -> QByteArray {
        const size_t n = arg.toULong();
        if (n < 1 || n > connections.all.size())
            return "no connection";
        connections.current = n - 1;
        return arg;
    };
    commands["wait-new"] = [&](const QByteArray &arg) {
        bool timedOut = false;
        const QByteArray result = truth(server.waitForNewConnection(arg.toInt(), &timedOut));
        return timedOut ? result + " timed out" : result;
    };
    commands["max"] = [&](const QByteArray &arg) {
        server.setMaxPendingConnections(arg.toInt());
        return num(server.maxPendingConnections());
    };
    commands["pending"] = [&](const QByteArray &) { return truth(server.hasPendingConnections()); };
    commands["server-error"] = [&](const QByteArray &) { return errorOf(int(server.serverError()), &server); };
    commands["close-server"] = [&](const QByteArray &) { server.close(); return truth(server.isListening()); };
    if constexpr (std::is_same_v<Socket, QTcpSocket>) {
        commands["pause"] = [&](const QByteArray &) { server.pauseAccepting(); return QByteArray("0"); };
        commands["resume"] = [&](const QByteArray &) { server.resumeAccepting(); return QByteArray("0"); };
    }
}

// onStdin calls f with each line; the end of stdin ends the program, so that none outlives the test that started it.
void onStdin(std::function<void(const QByteArray &)> f)
{
    auto notifier = new QSocketNotifier(STDIN_FILENO, QSocketNotifier::Read, qApp);
    auto rest = std::make_shared<QByteArray>();
    QObject::connect(notifier, &QSocketNotifier::activated, notifier, [=] {
        char buffer[4096];
        const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
        if (n <= 0) {
            notifier->setEnabled(false);
            qApp->exit(status);
            return;
        }
        rest->append(buffer, int(n));
        for (int end; (end = int(rest->indexOf('\n'))) >= 0;) {
            const QByteArray line = rest->left(end);
            rest->remove(0, end + 1);
            f(line);
        }
    });
}

int termPipe[2];

// onTerm makes SIGTERM and SIGINT end the event loop: Qt itself would die and leave its socket file behind.
void onTerm()
{
    if (pipe(termPipe) != 0)
        return;
    auto notifier = new QSocketNotifier(termPipe[0], QSocketNotifier::Read, qApp);
    QObject::connect(notifier, &QSocketNotifier::activated, notifier, [=] {
        notifier->setEnabled(false);
        qApp->exit(status);
    });
    for (int s : {SIGTERM, SIGINT})
        std::signal(s, [](int) { (void)!write(termPipe[1], "", 1); });
}

template <class Socket> int runScript(bool isServer, const Options &o)
{
    typename Net<Socket>::Server server;
    Connections<Socket> connections;
    Commands commands;
    addSocketCommands<Socket>(commands, connections, o);
    if (isServer) {
        addServerCommands<Socket>(commands, connections, server, o);
        QObject::connect(&server, &Net<Socket>::Server::newConnection, &server, [] { say("newConnection"); });
    } else {
        connections.add(new Socket(&server));
    }
    commands["quit"] = [](const QByteArray &) { qApp->quit(); return QByteArray("0"); };

    onStdin([&](const QByteArray &line) {
        const int space = int(line.indexOf(' '));
        const QByteArray name = space < 0 ? line : line.left(space);
        const QByteArray arg = space < 0 ? QByteArray() : line.mid(space + 1);
        const auto found = commands.find(name);
        say("= " + name + ' ' + (found == commands.end() ? "unknown command" : found->second(arg)));
    });
    return qApp->exec();
}

template <class Socket> int run(const QByteArray &part, const Options &o)
{
    if (part == "client-script" || part == "server-script")
        return runScript<Socket>(part == "server-script", o);
    if (part == "fortune-server" || part == "echo-server" || part == "send-server" || part == "recv-server") {
        onStdin([](const QByteArray &) {});
        return runServer<Socket>(part, o);
    }
    if (part == "fortune-client" || part == "send" || part == "recv")
        return runClient<Socket>(part, o);
    fprintf(stderr, "peer: no such mode: %s\n", part.constData());
    return 2;
}

[[noreturn]] void usage(const char *what)
{
    fprintf(stderr, "peer: %s\nusage: peer --version | MODE NAME [--text TEXT] [--form FORM] [--bytes N] [--count N] [--access WHO] [--abstract]\n", what);
    exit(2);
}

QLocalServer::SocketOption access(const QByteArray &who)
{
    if (who == "user")
        return QLocalServer::UserAccessOption;
    if (who == "group")
        return QLocalServer::GroupAccessOption;
    if (who == "other")
        return QLocalServer::OtherAccessOption;
    if (who == "world")
        return QLocalServer::WorldAccessOption;
    usage("--access is user, group, other or world");
}

Options parse(int argc, char **argv)
{
    Options o;
    o.name = QString::fromUtf8(argv[2]);
    for (int i = 3; i < argc; ++i) {
        const QByteArray option = argv[i];
        if (option == "--abstract") {
            o.abstract = true;
            continue;
        }
        if (++i == argc)
            usage("an option without its value, or an unknown one");
        const QByteArray value = argv[i];
        if (option == "--text")
            o.text = QString::fromUtf8(value);
        else if (option == "--form" && (value == "string" || value == "block" || value == "units"))
            o.form = value;
        else if (option == "--bytes")
            o.bytes = value.toLongLong();
        else if (option == "--count")
            o.count = value.toInt();
        else if (option == "--access")
            o.access |= access(value);
        else
            usage("unknown option");
    }
    return o;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc == 2 && QByteArray(argv[1]) == "--version") {
        say(qVersion());
        return 0;
    }
    if (argc < 3)
        usage("a mode and a name are needed");
    const QByteArray mode = argv[1];
    const Options o = parse(argc, argv);
    if (o.abstract && QT_VERSION < QT_VERSION_CHECK(6, 2, 0)) {
        fprintf(stderr, "peer: Qt %s has no abstract namespace, it came with 6.2\n", qVersion());
        return 77;
    }

    QCoreApplication app(argc, argv);
    onTerm();
    if (mode.startsWith("local-"))
        return run<QLocalSocket>(mode.mid(6), o);
    if (mode.startsWith("tcp-"))
        return run<QTcpSocket>(mode.mid(4), o);
    usage("a mode starts with local- or tcp-");
}
