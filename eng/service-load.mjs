#!/usr/bin/env node
// Load on a running service: queued videos, listeners to their progress, and requests whose answer times are measured.
//
//   ./pyramidflow serve --port 8200 --data /tmp/load &
//   node eng/service-load.mjs --url http://127.0.0.1:8200 --jobs 200 --listeners 200 --seconds 60 --pid SERVER
//
// With --pid it also prints the server's memory. It sends to this machine only, and removes its videos at the end.
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const options = { url: 'http://127.0.0.1:8188', jobs: 200, listeners: 200, seconds: 60, rate: 20, pid: 0, frames: 49 };
for (let i = 2; i < process.argv.length; i += 2)
    options[process.argv[i].slice(2)] = isNaN(process.argv[i + 1]) ? process.argv[i + 1] : Number(process.argv[i + 1]);
if (!['127.0.0.1', 'localhost', '[::1]'].includes(new URL(options.url).hostname))
    throw new Error('only a service on this machine is put under load');

const times = new Map();
const stop = new AbortController();
let events = 0;

async function timed(name, method, path, body) {
    const start = performance.now();
    const response = await fetch(options.url + path, { method, body: body && JSON.stringify(body), headers: body ? { 'content-type': 'application/json' } : {} });
    const answer = await response.json();
    if (!times.has(name))
        times.set(name, []);
    times.get(name).push(performance.now() - start);
    if (!response.ok)
        throw new Error(`${method} ${path}: ${response.status} ${answer.detail}`);
    return answer;
}

async function listen(id) {
    try {
        const response = await fetch(`${options.url}/v1/videos/${id}/events`, { signal: stop.signal });
        for await (const piece of response.body)
            events += Buffer.from(piece).toString().split('event: ').length - 1;
    } catch (error) {
        if (!stop.signal.aborted)
            throw error;
    }
}

function memory() {
    if (!options.pid)
        return '';
    const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${options.pid}/status`, 'utf8'))[1]);
    return `, memory ${(kib / 1024).toFixed(0)} MiB`;
}

function figures() {
    for (const [name, list] of times) {
        const sorted = list.toSorted((a, b) => a - b);
        const at = share => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1);
        console.log(`${name}: ${sorted.length} requests, p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`);
    }
}

const ids = [];
for (let i = 0; i < options.jobs; i++)
    ids.push((await timed('submit (one after another)', 'POST', '/v1/videos', { prompt: 'a small red circle moving right on a black background', num_frames: options.frames, seed: i })).id);
console.log(`${ids.length} queued${memory()}`);
// Half of them watch what is made first, the others what waits.
const listening = Array.from({ length: options.listeners }, (_, i) => listen(ids[i % 2 ? i % ids.length : 0]));
await pause(1000);
const end = performance.now() + options.seconds * 1000;
let requests = 0;
const asked = [];
for (let n = 0; performance.now() < end; n++) {
    asked.push(n % 4 === 3 ? timed('list 20', 'GET', '/v1/videos') : timed('one video', 'GET', `/v1/videos/${ids[n * 7 % ids.length]}`));
    if (n % (options.rate * 10) === 0)
        console.log(`${((options.seconds * 1000 - (end - performance.now())) / 1000).toFixed(0)} s: ${events} events${memory()}`);
    await pause(1000 / options.rate);
    requests++;
}
await Promise.all(asked);
stop.abort();
await Promise.allSettled(listening);
const states = {};
for (const id of ids) {
    const { status } = await timed('one video, at the end', 'GET', `/v1/videos/${id}`);
    states[status] = (states[status] ?? 0) + 1;
}
figures();
console.log(`${requests} requests, ${events} events to ${options.listeners} listeners, videos: ${JSON.stringify(states)}${memory()}`);
for (const id of ids)
    await timed('delete', 'DELETE', `/v1/videos/${id}`);
