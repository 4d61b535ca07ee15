// Slot 0 holds the high-water mark, so that slot numbers are never 0. Order of stores: a slot's content
// before its state, a new name before the place that points to it; what a killed server wrote but nothing
// points to is found free by recover().
#include "overlay/node_table.h"

#include <algorithm>
#include <cstring>

namespace lamina::overlay {

namespace {

constexpr uint64_t pack(uint64_t parent, uint32_t name) { return parent << 32 | name; }
constexpr uint32_t name_of(uint64_t place) { return static_cast<uint32_t>(place); }

}  // namespace

bool NodeTable::create(uint32_t toc_count) {
  toc_count_ = toc_count;
  slots_ = Mapping::shared(static_cast<size_t>(kMaxSlots) * sizeof(NodeRecord));
  toc_lookups_ = Mapping::shared(2 * (static_cast<size_t>(toc_count) + 1) * sizeof(std::atomic<uint64_t>));
  if (!slots_.valid() || !toc_lookups_.valid()) return false;
  high_water().store(1);
  return true;
}

void NodeTable::recover() {
  toc_slots_ = std::make_unique<std::atomic<uint32_t>[]>(toc_count_ + 1);
  const uint32_t end = high_water().load(std::memory_order_acquire);
  std::vector<bool> used(end, false);
  for (uint32_t index = 1; index < end; ++index) {
    NodeRecord& record = slot(index);
    if (record.state.load(std::memory_order_acquire) != kNode) continue;
    used[index] = true;
    for (uint32_t at = name_of(record.place.load()); at != 0 && at < end && !used[at];
         at = name_slot(at).next) {
      used[at] = true;
    }
    if (is_toc(record.node)) {
      toc_slots_[record.node].store(index);
    } else if (!record.has(kRemoved)) {
      shard(record.ino).slot_of_ino[record.ino] = index;
    }
  }
  free_.clear();
  for (uint32_t index = end; index-- > 1;) {
    if (used[index]) continue;
    slot(index).state.store(kFree, std::memory_order_relaxed);
    free_.push_back(index);
  }
}

uint32_t NodeTable::take_slot() {
  const std::lock_guard guard(free_mutex_);
  uint32_t index = 0;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    index = high_water().load(std::memory_order_relaxed);
    if (index >= kMaxSlots || static_cast<uint64_t>(toc_count_) + index >= UINT32_MAX) return 0;
    high_water().store(index + 1, std::memory_order_release);
  }
  return index;
}

void NodeTable::free_slot(uint32_t index) {
  slot(index).state.store(kFree, std::memory_order_release);
  const std::lock_guard guard(free_mutex_);
  free_.push_back(index);
}

uint32_t NodeTable::write_name(std::string_view name) {
  // Last part first, so that each part can point to the next.
  uint32_t next = 0;
  size_t end = name.size();
  do {
    const size_t start = end == 0 ? 0 : (end - 1) / sizeof(NameSlot::bytes) * sizeof(NameSlot::bytes);
    const uint32_t index = take_slot();
    if (index == 0) {
      free_name(next);
      return 0;
    }
    NameSlot& part = name_slot(index);
    part.next = next;
    part.length = static_cast<uint16_t>(end - start);
    memcpy(part.bytes, name.data() + start, end - start);
    part.state.store(kName, std::memory_order_release);
    next = index;
    end = start;
  } while (end > 0);
  return next;
}

void NodeTable::free_name(uint32_t index) {
  while (index != 0) {
    const uint32_t next = name_slot(index).next;
    free_slot(index);
    index = next;
  }
}

std::string NodeTable::read_name(uint32_t index) const {
  std::string name;
  for (; index != 0; index = name_slot(index).next) {
    const NameSlot& part = name_slot(index);
    name.append(part.bytes, std::min<size_t>(part.length, sizeof part.bytes));
  }
  return name;
}

NodeRecord* NodeTable::find(uint64_t node) const {
  if (is_toc(node)) {
    const uint32_t index = toc_slots_[node].load(std::memory_order_acquire);
    return index == 0 ? nullptr : &slot(index);
  }
  const uint64_t index = node - toc_count_;
  if (node <= toc_count_ || index >= high_water().load(std::memory_order_acquire)) return nullptr;
  NodeRecord& record = slot(static_cast<uint32_t>(index));
  return record.state.load(std::memory_order_acquire) == kNode ? &record : nullptr;
}

NodeRecord* NodeTable::make(uint64_t ino, uint64_t node, uint64_t parent, std::string_view name,
                            uint32_t flags, uint64_t object, uint64_t lookups) {
  const uint32_t index = take_slot();
  if (index == 0) return nullptr;
  const uint32_t name_index = write_name(name);
  if (name_index == 0) {
    free_slot(index);
    return nullptr;
  }
  NodeRecord& record = slot(index);
  record.flags.store(flags, std::memory_order_relaxed);
  record.place.store(pack(parent, name_index), std::memory_order_relaxed);
  record.lookups.store(lookups, std::memory_order_relaxed);
  record.ino = ino;
  record.opens.store(is_toc(node) ? static_cast<uint32_t>(toc_opens(node).exchange(0)) : 0);
  record.backing.store(0);
  record.object.store(object, std::memory_order_relaxed);
  record.node = static_cast<uint32_t>(node != 0 ? node : toc_count_ + index);
  // The kernel tells a node id that is used again from what it was before by this.
  ++record.generation;
  record.state.store(kNode, std::memory_order_release);
  return &record;
}

NodeRecord* NodeTable::intern(uint64_t ino, uint64_t node, uint64_t parent, std::string_view name,
                              uint32_t flags, uint64_t object) {
  Shard& own = shard(ino);
  const std::lock_guard guard(own.mutex);
  if (node != 0) {
    if (const uint32_t index = toc_slots_[node].load(std::memory_order_acquire); index != 0) {
      slot(index).lookups.fetch_add(1, std::memory_order_relaxed);
      return &slot(index);
    }
    const uint64_t before = toc_lookups()[node].exchange(0, std::memory_order_relaxed);
    NodeRecord* record = make(ino, node, parent, name, flags, object, before + 1);
    if (record == nullptr) {
      toc_lookups()[node].store(before, std::memory_order_relaxed);
      return nullptr;
    }
    toc_slots_[node].store(static_cast<uint32_t>(record - &slot(0)), std::memory_order_release);
    return record;
  }
  if (const auto found = own.slot_of_ino.find(ino); found != own.slot_of_ino.end()) {
    NodeRecord& record = slot(found->second);
    record.lookups.fetch_add(1, std::memory_order_relaxed);
    return &record;
  }
  NodeRecord* record = make(ino, 0, parent, name, flags, object, 1);
  if (record != nullptr) own.slot_of_ino[ino] = static_cast<uint32_t>(record - &slot(0));
  return record;
}

NodeRecord* NodeTable::attach(uint64_t node, uint64_t parent, std::string_view name, uint32_t flags,
                              uint64_t object) {
  NodeRecord* record = intern(node, node, parent, name, flags, object);
  if (record != nullptr) record->lookups.fetch_sub(1, std::memory_order_relaxed);
  return record;
}

uint64_t NodeTable::node_of_ino(uint64_t ino) const {
  if (is_toc(ino)) return ino;
  const Shard& own = shard(ino);
  const std::shared_lock guard(own.mutex);
  const auto found = own.slot_of_ino.find(ino);
  return found == own.slot_of_ino.end() ? 0 : slot(found->second).node;
}

void NodeTable::set_removed(NodeRecord& record, bool removed) {
  Shard& own = shard(record.ino);
  const std::lock_guard guard(own.mutex);
  const auto index = static_cast<uint32_t>(&record - &slot(0));
  if (removed) {
    record.set(kRemoved);
    if (const auto found = own.slot_of_ino.find(record.ino);
        found != own.slot_of_ino.end() && found->second == index) {
      own.slot_of_ino.erase(found);
    }
  } else {
    record.clear(kRemoved);
    if (!is_toc(record.node)) own.slot_of_ino.emplace(record.ino, index);
  }
}

Place NodeTable::place(const NodeRecord& record) const {
  const std::shared_lock guard(place_lock(record));
  const uint64_t packed = record.place.load(std::memory_order_acquire);
  return {packed >> 32, read_name(name_of(packed))};
}

void NodeTable::move(NodeRecord& record, uint64_t parent, std::string_view name) {
  const uint32_t written = write_name(name);
  // Without memory the old name stays, and leads to ENOENT or ESTALE, never to another object.
  if (written == 0) return;
  const std::lock_guard guard(place_lock(record));
  const uint64_t before = record.place.exchange(pack(parent, written), std::memory_order_acq_rel);
  free_name(name_of(before));
}

NodeRecord* NodeTable::count_toc_lookup(uint64_t node) {
  const std::lock_guard guard(shard(node).mutex);
  const uint32_t index = toc_slots_[node].load(std::memory_order_acquire);
  (index != 0 ? slot(index).lookups : toc_lookups()[node]).fetch_add(1, std::memory_order_relaxed);
  return index != 0 ? &slot(index) : nullptr;
}

uint32_t NodeTable::count(const std::function<bool(const NodeRecord&)>& is) const {
  uint32_t sum = 0;
  const uint32_t end = high_water().load(std::memory_order_acquire);
  for (uint32_t index = 1; index < end; ++index) {
    const NodeRecord& record = slot(index);
    if (record.state.load(std::memory_order_acquire) == kNode && is(record)) ++sum;
  }
  return sum;
}

void NodeTable::forget(uint64_t node, uint64_t count, const std::function<void(const NodeRecord&)>& last) {
  NodeRecord* record = find(node);
  if (record == nullptr && !is_toc(node)) return;
  Shard& own = shard(record != nullptr ? record->ino : node);
  const std::lock_guard guard(own.mutex);
  // It may have got its record, or lost it, meanwhile.
  record = find(node);
  const auto drop = [count](std::atomic<uint64_t>& lookups) {
    const uint64_t have = lookups.load(std::memory_order_relaxed);
    const uint64_t left = have > count ? have - count : 0;
    lookups.store(left, std::memory_order_relaxed);
    return left;
  };
  if (record == nullptr) {
    if (is_toc(node)) drop(toc_lookups()[node]);
    return;
  }
  if (drop(record->lookups) > 0) return;
  last(*record);
  const auto index = static_cast<uint32_t>(record - &slot(0));
  if (is_toc(node)) {
    toc_slots_[node].store(0, std::memory_order_release);
  } else if (const auto found = own.slot_of_ino.find(record->ino);
             found != own.slot_of_ino.end() && found->second == index) {
    own.slot_of_ino.erase(found);
  }
  const uint32_t name = name_of(record->place.load());
  free_slot(index);
  free_name(name);
}

}  // namespace lamina::overlay
