// recorder.hpp - a recording by the daemon, in a thread of its own.
//
// The daemon's thread puts copies of frames into a queue and never waits.  When the disk
// is slower than the application, the oldest records in the queue go, which is a loss in
// the file; when even rows and texts alone are too many, the recording ends.
#ifndef QI_DAEMON_RECORDER_HPP
#define QI_DAEMON_RECORDER_HPP

#include "charge.hpp"
#include "recording.h"

#include <QByteArray>
#include <QObject>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace qi {

class Recorder : public QObject {
    Q_OBJECT

  public:
    // Takes the recording over.  What waits for the disk is charged to the budget.
    Recorder(qi_recording *recording, const QByteArray &path,
             const std::shared_ptr<qi_budget> &budget, QObject *parent);
    // Ends it first, however long the disk takes.
    ~Recorder() override;

    // A frame from the application, or a LINT about it.
    void put(const qi_frame &frame);
    // The application has died: what it wrote last is in this file.
    void putSegment(const QByteArray &path);
    // ended() follows.
    void stop();

    bool
    hasEnded() const
    {
        return m_hasEnded;
    }
    const QByteArray &
    path() const
    {
        return m_path;
    }
    // Empty unless it failed; final after ended().
    QByteArray failure() const;
    qi_recording_totals stats() const;

    static constexpr size_t MaxQueue = 64 << 20;        // then the oldest records go
    static constexpr size_t MaxQueueOfRows = 128 << 20; // then the recording ends
    static constexpr int TickMs = 250;

  Q_SIGNALS:
    void ended(qi::Recorder *recorder);

  private:
    enum class Kind { Records, Frame, Segment };
    struct Item {
        Kind kind;
        int64_t now;
        QByteArray bytes;
    };

    void push(Item item);
    bool makeRoom(size_t bytes);
    void unqueue(size_t bytes);
    void emptyQueue();
    void run();
    int work(const Item &item);
    int readSegment(const QByteArray &path);
    void finish(int status);

    qi_recording *m_recording; // owned; of the thread
    QByteArray m_path;
    bool m_hasEnded = false; // in the daemon's thread

    mutable std::mutex m_mutex; // of what follows
    std::condition_variable m_condition;
    std::deque<Item> m_queue;
    size_t m_queued = 0; // bytes, all of them charged
    Charge m_charge;
    bool m_stop = false, m_overrun = false;
    qi_recording_totals m_stats = {};
    QByteArray m_failure;

    std::thread m_thread; // the last member: it uses the others
};

} // namespace qi

#endif
