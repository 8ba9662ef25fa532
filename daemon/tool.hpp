// tool.hpp - a connected tool: its requests and its subscriptions.
#ifndef QI_DAEMON_TOOL_HPP
#define QI_DAEMON_TOOL_HPP

#include "feed.hpp"
#include "session.hpp"

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>

#include <map>
#include <memory>
#include <vector>

namespace qi {

class Server;

class Tool : public QObject, public Peer {
    Q_OBJECT

  public:
    Tool(Session *session, Server *server, QObject *parent);

    bool take(const qi_frame &frame, QByteArray *error) override;
    void
    roomForMore() override
    {
        pump();
    }

    void applicationUp(Application *application);
    void applicationDescribed(Application *application);
    void applicationChanged(Application *application);
    void applicationDown(Application *application);
    void applicationForgotten(Application *application);
    void tellStalls(Application *application);
    void stalled(Application *application, const QByteArray &fields, uint32_t count);

    void found(Application *application, const qi_finding *finding);

    // The highest rate that a subscription of this tool wants of an application; 0: none.
    unsigned rateFor(const Application *application, bool *events) const;

    static constexpr size_t MaxSubscriptions = 32;
    static constexpr uint64_t MaxLevel = 4;
    static constexpr int MaxRecordRequests = 8; // not answered yet

  private:
    struct Subscription {
        uint32_t number;
        uint64_t pid; // 0: all
        FeedOptions options;
        bool answered = false;
        QElapsedTimer asked;
        uint32_t seq = 0; // of the request that waits for its answer
    };

    void pump();
    bool subscribe(const qi_frame &frame, QByteArray *error);
    void unsubscribe(uint32_t number);
    template <typename Condition> void dropFeeds(Condition condition);
    void follow(const Subscription &subscription, Application *application);
    int answerSubscriptions(); // milliseconds until the next one must be; -1
    bool change(const qi_frame &frame);
    void list(uint32_t seq);
    void crashes(uint32_t seq);
    void stats(uint32_t seq);
    void lints(const qi_frame &frame);
    void histogram(const qi_frame &frame);
    void record(const qi_frame &frame);
    void startRecording(const qi_frame &frame, Application *application);
    void stopRecording(uint32_t seq, Application *application);
    std::shared_ptr<Tool> countRecordRequest();
    void tellRecording(uint32_t seq, const Recorder *recorder);
    bool follows(const Application *application) const;
    void tellFindings(Application *application);
    void result(uint32_t seq, bool ok, const QByteArray &error = {},
                const QByteArray &text = {});
    void tellUp(Application *application);
    void tellDown(Application *application);

    Session *m_session;
    Server *m_server;
    std::vector<Subscription> m_subscriptions;
    std::vector<std::unique_ptr<Feed>> m_feeds;
    std::map<Application *, Interned> m_interned;
    QTimer m_timer;
    bool m_pumping = false;
    int m_recordRequests = 0;
};

} // namespace qi

#endif
