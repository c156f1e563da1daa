// Several processes: the store where they meet and the process group of c10d that moves tensors between them. Tensors move as
// bytes, so that every element type works with every version of libtorch; adding up is done above this file.
#include "shim.h"

#ifdef PF_DISTRIBUTED
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/version.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#ifdef USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

namespace {

using std::chrono::milliseconds;
using StorePointer = c10::intrusive_ptr<c10d::Store>;
using WorkPointer = c10::intrusive_ptr<c10d::Work>;
// Since 2.0 the groups of one kind of network derive from Backend, and ProcessGroup is a collection of them.
#if TORCH_VERSION_MAJOR >= 2
using Group = c10d::Backend;
#else
using Group = c10d::ProcessGroup;
#endif

struct Communicator {
    c10::intrusive_ptr<Group> group;
    bool is_grouped;     // all transfers of an exchange start together on the device (NCCL)
};

// Transfers that were started together, and their tensors.
struct Transfers {
    std::vector<WorkPointer> works;
    std::vector<at::Tensor> tensors;
};

at::Tensor bytes(Handle handle) {
    auto tensor = pf::borrow(handle);
    TORCH_CHECK(tensor.is_contiguous(), "a tensor that moves between processes is contiguous");
    return tensor.view({-1}).view(at::kByte);
}

std::vector<at::Tensor> one(const at::Tensor& tensor) { return {tensor}; }

// Processes that are not at the same call, or mean another length, get other tags and never exchange a byte: Gloo ends the
// whole process when a message is longer than its place.
int tag_of(int call, int64_t length) {
    auto mixed = static_cast<uint64_t>(call) * 0x9E3779B97F4A7C15ull ^ static_cast<uint64_t>(length) * 0xC2B2AE3D27D4EB4Full;
    return static_cast<int>((mixed >> 33) & 0x7fffffff);
}

#ifdef USE_C10D_GLOO
// The address of this machine on the way to another one. A name of its own often leads to a loopback address, which other
// machines cannot reach. Connecting a datagram socket sends nothing.
std::string own_address(const char* towards) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_DGRAM;
    addrinfo* found = nullptr;
    if (getaddrinfo(towards, "9", &hints, &found) != 0) return "127.0.0.1";
    std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, freeaddrinfo);
    std::string address = "127.0.0.1";
    auto socket = ::socket(found->ai_family, SOCK_DGRAM, 0);
    if (socket < 0) return address;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    char name[NI_MAXHOST];
    if (connect(socket, found->ai_addr, found->ai_addrlen) == 0 && getsockname(socket, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        getnameinfo(reinterpret_cast<sockaddr*>(&own), length, name, sizeof name, nullptr, 0, NI_NUMERICHOST) == 0)
        address = name;
    close(socket);
    return address;
}

c10::intrusive_ptr<Group> connect_gloo(const StorePointer& store, int rank, int size, const char* towards, milliseconds limit) {
    auto options = c10d::ProcessGroupGloo::Options::create(limit);
    auto* interface = std::getenv("GLOO_SOCKET_IFNAME");
    options->devices.push_back(interface != nullptr && *interface != 0
                                   ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                   : c10d::ProcessGroupGloo::createDeviceForHostname(own_address(towards)));
    return c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
}
#endif

StorePointer& store_of(void* store) { return *static_cast<StorePointer*>(store); }
Communicator& group_of(void* group) { return *static_cast<Communicator*>(group); }

}  // namespace

// Bits: 1 stores, 2 Gloo, 4 NCCL.
PF_API int pf_distributed_parts() {
    int parts = 1;
#ifdef USE_C10D_GLOO
    parts |= 2;
#endif
#ifdef USE_C10D_NCCL
    parts |= 4;
#endif
    return parts;
}

// Connects to a store over TCP, and serves it too where `serve` is 1. Keys of this client begin with `prefix`.
PF_API void* pf_store_tcp(const char* host, int port, int serve, const char* prefix, int64_t limit) {
    return pf::guarded<void*>(nullptr, [&] {
        c10d::TCPStoreOptions options;
        options.port = static_cast<uint16_t>(port);
        options.isServer = serve != 0;
        options.waitWorkers = false;
        options.timeout = milliseconds(limit);
        StorePointer store = c10::make_intrusive<c10d::TCPStore>(host, options);
        return new StorePointer(c10::make_intrusive<c10d::PrefixStore>(prefix, store));
    });
}

// Opens a store in a file that all processes see. The caller deletes the file.
PF_API void* pf_store_file(const char* path, int64_t limit) {
    return pf::guarded<void*>(nullptr, [&] {
        StorePointer store = c10::make_intrusive<c10d::FileStore>(path, -1);
        store->setTimeout(milliseconds(limit));
        return new StorePointer(store);
    });
}

PF_API int pf_store_set(void* store, const char* key, const uint8_t* data, int count) {
    return pf::guarded<int>(-1, [&] {
        store_of(store)->set(key, std::vector<uint8_t>(data, data + count));
        return 0;
    });
}

// Copies at most `capacity` bytes of a value and returns its length; waits for the key up to the limit of the store.
PF_API int64_t pf_store_get(void* store, const char* key, uint8_t* data, int64_t capacity) {
    return pf::guarded<int64_t>(-1, [&] {
        auto value = store_of(store)->get(key);
        auto count = static_cast<int64_t>(value.size());
        if (count > 0) std::memcpy(data, value.data(), static_cast<size_t>(std::min(count, capacity)));
        return count;
    });
}

PF_API int64_t pf_store_add(void* store, const char* key, int64_t value) {
    return pf::guarded<int64_t>(-1, [&] { return store_of(store)->add(key, value); });
}

PF_API int pf_store_has(void* store, const char* key) {
    return pf::guarded<int>(-1, [&] { return store_of(store)->check({key}) ? 1 : 0; });
}

PF_API void pf_store_free(void* store) { delete static_cast<StorePointer*>(store); }

// Connects the processes of the group `name` with one another. `towards` is the address of a machine of the group; `limit` bounds every wait.
PF_API void* pf_group_new(void* store, const char* name, int nccl, int rank, int size, const char* towards, int64_t limit) {
    return pf::guarded<void*>(nullptr, [&]() -> void* {
        StorePointer keys = c10::make_intrusive<c10d::PrefixStore>(std::string(nccl != 0 ? "nccl/" : "gloo/") + name, store_of(store));
        if (nccl != 0) {
#ifdef USE_C10D_NCCL
            auto options = c10d::ProcessGroupNCCL::Options::create();
            options->timeout = milliseconds(limit);
            return new Communicator{c10::make_intrusive<c10d::ProcessGroupNCCL>(keys, rank, size, options), true};
#else
            TORCH_CHECK(false, "this build has no NCCL");
#endif
        }
#ifdef USE_C10D_GLOO
        return new Communicator{connect_gloo(keys, rank, size, towards, milliseconds(limit)), false};
#else
        TORCH_CHECK(false, "this build has no Gloo");
#endif
    });
}

PF_API void pf_group_free(void* group) { delete static_cast<Communicator*>(group); }

// Starts to send inputs[r] to each process r and to receive outputs[r] from it. A null handle moves nothing. The caller keeps
// the handles and does not touch the tensors before the transfers are waited for.
PF_API void* pf_group_exchange(void* group, int rank, Handle* outputs, Handle* inputs, int size, int call) {
    return pf::guarded<void*>(nullptr, [&] {
        auto& communicator = group_of(group);
        auto started = std::make_unique<Transfers>();
        if (outputs[rank] != nullptr && inputs[rank] != nullptr) bytes(outputs[rank]).copy_(bytes(inputs[rank]));
        std::vector<at::Tensor> to(size), from(size);
        at::Tensor none;
        for (int r = 0; r < size; r++) {
            if (r == rank) continue;
            if (outputs[r] != nullptr) from[r] = bytes(outputs[r]);
            if (inputs[r] != nullptr) to[r] = bytes(inputs[r]);
            if (!none.defined() && (from[r].defined() || to[r].defined())) none = (from[r].defined() ? from[r] : to[r]).narrow(0, 0, 0);
        }
        if (communicator.is_grouped) {
            if (!none.defined()) return started.release();
            for (auto* list : {&to, &from})
                for (auto& tensor : *list)
                    if (!tensor.defined()) tensor = none;
            started->works.push_back(communicator.group->alltoall(from, to, {}));
        } else {
            // Receives first: what arrives then goes straight to its place.
            for (int step = 1; step < size; step++) {
                auto r = (rank + size - step) % size;
                auto list = one(from[r]);
                if (from[r].defined() && from[r].numel() > 0) started->works.push_back(communicator.group->recv(list, r, tag_of(call, list[0].numel())));
            }
            for (int step = 1; step < size; step++) {
                auto r = (rank + step) % size;
                auto list = one(to[r]);
                if (to[r].defined() && to[r].numel() > 0) started->works.push_back(communicator.group->send(list, r, tag_of(call, list[0].numel())));
            }
        }
        for (auto* list : {&to, &from})
            for (auto& tensor : *list)
                if (tensor.defined()) started->tensors.push_back(tensor);
        return started.release();
    });
}

// Starts to send (receive = 0) or receive a tensor.
PF_API void* pf_group_transfer(void* group, Handle tensor, int peer, int receive, int call) {
    return pf::guarded<void*>(nullptr, [&] {
        auto started = std::make_unique<Transfers>();
        auto list = one(bytes(tensor));
        started->tensors = list;
        auto& communicator = *group_of(group).group;
        auto tag = tag_of(call, list[0].numel());
        started->works.push_back(receive != 0 ? communicator.recv(list, peer, tag) : communicator.send(list, peer, tag));
        return started.release();
    });
}

PF_API int pf_transfers_wait(void* transfers) {
    return pf::guarded<int>(-1, [&] {
        for (auto& work : static_cast<Transfers*>(transfers)->works) work->wait();
        return 0;
    });
}

PF_API void pf_transfers_free(void* transfers) { delete static_cast<Transfers*>(transfers); }

#else

namespace {

void* missing() {
    pf::set_error("this libtorch was built without c10d");
    return nullptr;
}

}  // namespace

PF_API int pf_distributed_parts() { return 0; }
PF_API void* pf_store_tcp(const char*, int, int, const char*, int64_t) { return missing(); }
PF_API void* pf_store_file(const char*, int64_t) { return missing(); }
PF_API int pf_store_set(void*, const char*, const uint8_t*, int) { return -1; }
PF_API int64_t pf_store_get(void*, const char*, uint8_t*, int64_t) { return -1; }
PF_API int64_t pf_store_add(void*, const char*, int64_t) { return -1; }
PF_API int pf_store_has(void*, const char*) { return -1; }
PF_API void pf_store_free(void*) {}
PF_API void* pf_group_new(void*, const char*, int, int, int, const char*, int64_t) { return missing(); }
PF_API void pf_group_free(void*) {}
PF_API void* pf_group_exchange(void*, int, Handle*, Handle*, int, int) { return missing(); }
PF_API void* pf_group_transfer(void*, Handle, int, int, int) { return missing(); }
PF_API int pf_transfers_wait(void*) { return -1; }
PF_API void pf_transfers_free(void*) {}

#endif
