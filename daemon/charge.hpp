// charge.hpp - what one owner has of the memory of all sessions: see budget.h.
#ifndef QI_DAEMON_CHARGE_HPP
#define QI_DAEMON_CHARGE_HPP

#include "budget.h"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace qi {

// Gives back what it has when it goes.
class Charge {
  public:
    explicit Charge(std::shared_ptr<qi_budget> budget) : m_budget(std::move(budget))
    {
    }
    ~Charge()
    {
        giveAll();
    }
    Charge(const Charge &) = delete;
    Charge &operator=(const Charge &) = delete;

    // False: there is not so much left, and nothing has changed.
    bool
    take(size_t bytes)
    {
        if (!qi_budget_take(m_budget.get(), bytes)) {
            return false;
        }
        m_bytes += bytes;
        return true;
    }
    // For what passes through: from the reserve too.
    bool
    takePassing(size_t bytes)
    {
        if (!qi_budget_take_passing(m_budget.get(), bytes)) {
            return false;
        }
        m_bytes += bytes;
        return true;
    }
    void
    give(size_t bytes)
    {
        m_bytes -= bytes;
        qi_budget_give(m_budget.get(), bytes);
    }
    void
    giveAll()
    {
        give(m_bytes);
    }
    const std::shared_ptr<qi_budget> &
    budget() const
    {
        return m_budget;
    }

  private:
    std::shared_ptr<qi_budget> m_budget;
    size_t m_bytes = 0;
};

// Refs of rows, charged before they have a place.
class RefList {
  public:
    explicit RefList(const std::shared_ptr<qi_budget> &budget) : m_charge(budget)
    {
    }

    bool
    append(uint64_t ref)
    {
        if (m_refs.size() == m_refs.capacity() && !grow()) {
            return false;
        }
        m_refs.push_back(ref);
        return true;
    }
    void
    clear()
    {
        m_refs.clear();
        if (m_refs.capacity() > Kept) {
            m_charge.give(m_refs.capacity() * sizeof(uint64_t));
            std::vector<uint64_t>().swap(m_refs);
        }
    }
    size_t
    size() const
    {
        return m_refs.size();
    }
    uint64_t
    operator[](size_t i) const
    {
        return m_refs[i];
    }
    std::vector<uint64_t>::iterator
    begin()
    {
        return m_refs.begin();
    }
    std::vector<uint64_t>::iterator
    end()
    {
        return m_refs.end();
    }

  private:
    static constexpr size_t First = 64;
    static constexpr size_t Kept = 1024; // for the next time

    // Both are there while the refs move.
    bool
    grow()
    {
        size_t before = m_refs.capacity();
        size_t after = before == 0 ? First : before * 2;
        if (!m_charge.take(after * sizeof(uint64_t))) {
            return false;
        }
        m_refs.reserve(after);
        m_charge.give(before * sizeof(uint64_t));
        return true;
    }

    std::vector<uint64_t> m_refs;
    Charge m_charge;
};

} // namespace qi

#endif
