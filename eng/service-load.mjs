#!/usr/bin/env node
// Load on a running service: queued videos, listeners to their progress, and requests whose answer times are measured.
//
//   ./pyramidflow serve --port 8200 --data /tmp/load &
//   node eng/service-load.mjs --url http://127.0.0.1:8200 --jobs 200 --listeners 200 --seconds 60 --pid SERVER
//
// With --pid it also prints the server's memory. It sends to this machine only, and removes its videos at the end.
import { setTimeout as pause } from 'node:timers/promises';
import { Service, optionsOf, prompt } from './load-client.mjs';

const options = optionsOf({ url: 'http://127.0.0.1:8188', jobs: 200, listeners: 200, seconds: 60, rate: 20, pid: 0, frames: 49 });
const service = new Service(options);
const stop = new AbortController();
let events = 0;

const ids = [];
for (let i = 0; i < options.jobs; i++)
    ids.push((await service.submit('submit (one after another)', { prompt, num_frames: options.frames, seed: i })).id);
console.log(`${ids.length} queued${service.memory()}`);
// Half of them watch what is made first, the others what waits.
const listening = Array.from({ length: options.listeners }, (_, i) => service.listen(ids[i % 2 ? i % ids.length : 0], stop.signal, text => { events += text.split('event: ').length - 1; }));
await pause(1000);
const end = performance.now() + options.seconds * 1000;
let requests = 0;
const asked = [];
for (let n = 0; performance.now() < end; n++) {
    asked.push(n % 4 === 3 ? service.timed('list 20', 'GET', '/v1/videos') : service.timed('one video', 'GET', `/v1/videos/${ids[n * 7 % ids.length]}`));
    if (n % (options.rate * 10) === 0)
        console.log(`${((options.seconds * 1000 - (end - performance.now())) / 1000).toFixed(0)} s: ${events} events${service.memory()}`);
    await pause(1000 / options.rate);
    requests++;
}
await Promise.all(asked);
stop.abort();
await Promise.allSettled(listening);
const states = {};
for (const id of ids) {
    const { status } = await service.timed('one video, at the end', 'GET', `/v1/videos/${id}`);
    states[status] = (states[status] ?? 0) + 1;
}
service.figures();
console.log(`${requests} requests, ${events} events to ${options.listeners} listeners, videos: ${JSON.stringify(states)}${service.memory()}`);
for (const id of ids)
    await service.timed('delete', 'DELETE', `/v1/videos/${id}`);
