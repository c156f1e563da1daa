#!/usr/bin/env node
// The traffic of an hour on a running service, in less time: visitors who open the page, ask for a video, some with a picture,
// watch its progress (some go away in the middle), look at the list, play it in parts and delete it, or cancel it.
//
//   ./pyramidflow serve --port 8200 --data /tmp/traffic &
//   node eng/service-traffic.mjs --url http://127.0.0.1:8200 --visits 600 --seconds 1200 --pid SERVER --browser chromium --lines memory.jsonl
//   ./pyramidflow train plot memory.jsonl --x seconds --y memory_mib -o memory.svg
//
// With --pid it prints the server's memory each half minute, and writes it to --lines each 5 seconds. With --browser every third visitor has the page open in a tab of that browser, which runs its
// script and its circuit. It sends to this machine only.
import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Service, optionsOf, prompt } from './load-client.mjs';

const options = optionsOf({ url: 'http://127.0.0.1:8188', visits: 600, seconds: 1200, pid: 0, keep: 20, browser: '', lines: '', debug: 9333 });
const service = new Service(options);
const kept = [];
let made = 0, events = 0, there = 0, tabs = 0;
const browser = options.browser ? await startBrowser() : null;

async function startBrowser() {
    const profile = mkdtempSync(join(tmpdir(), 'pyramidflow-browser-'));
    const program = spawn(options.browser, ['--headless', '--no-sandbox', '--disable-gpu', `--remote-debugging-port=${options.debug}`, `--user-data-dir=${profile}`, 'about:blank'], { stdio: 'ignore' });
    for (const signal of ['SIGINT', 'SIGTERM'])
        process.on(signal, () => process.exit(130));
    process.on('exit', () => {
        program.kill('SIGKILL');
        rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    });
    while (!(await fetch(`http://127.0.0.1:${options.debug}/json/version`).catch(() => null))?.ok)
        await pause(200);
    return program;
}

// A tab with the page: its script connects to the server as that of a visitor does.
async function openTab() {
    const tab = await (await fetch(`http://127.0.0.1:${options.debug}/json/new?${encodeURIComponent(options.url)}/`, { method: 'PUT' })).json();
    tabs++;
    return tab.id;
}

async function visit(n) {
    there++;
    await service.timed('page', 'GET', '/');
    const tab = browser && n % 3 === 0 ? await openTab() : null;
    await service.timed('list', 'GET', '/v1/videos?limit=48');
    const asks = { prompt, num_frames: 9 + 8 * (n % 3), num_inference_steps: 2, seed: n };
    let body = asks;
    if (n % 4 === 1 && kept.length > 0) {
        const picture = await service.timed('picture', 'GET', `/v1/videos/${kept[0]}/content?variant=last_frame`);
        body = new FormData();
        Object.entries(asks).forEach(([name, value]) => body.set(name, value));
        body.set('input_reference', new Blob([picture], { type: 'image/png' }), 'first.png');
    }
    const { id } = await service.submit(body === asks ? 'ask' : 'ask with a picture', body);
    const leave = new AbortController();
    const watching = service.listen(id, leave.signal, text => {
        events += text.split('event: ').length - 1;
        if (n % 3 === 0 && text.includes('event: preview'))
            leave.abort();
    });
    if (n % 10 === 9) {
        await pause(500);
        await service.timed('cancel', 'POST', `/v1/videos/${id}/cancel`);
    }
    await watching;
    let video;
    do {
        await pause(1000);
        video = await service.timed('one video', 'GET', `/v1/videos/${id}`);
    } while (video.status === 'queued' || video.status === 'in_progress');
    if (video.status === 'completed') {
        made++;
        await service.timed('thumbnail', 'GET', `/v1/videos/${id}/content?variant=thumbnail`);
        await service.timed('video', 'GET', `/v1/videos/${id}/content`);
        kept.push(id);
    } else if (n % 10 !== 9)
        throw new Error(`${id}: ${video.error.message}`);
    while (kept.length > options.keep)
        await service.timed('delete', 'DELETE', `/v1/videos/${kept.shift()}`);
    if (tab)
        await fetch(`http://127.0.0.1:${options.debug}/json/close/${tab}`);
    there--;
}

const visits = [], begin = performance.now();
const clock = () => `${((performance.now() - begin) / 1000).toFixed(0)} s: ${visits.length} visits, ${there} of them under way, ${made} videos, ${tabs} tabs, ${events} events${service.memory()}`;
if (options.lines)
    writeFileSync(options.lines, '');
const noting = setInterval(() => {
    if (options.lines)
        appendFileSync(options.lines, `${JSON.stringify({ seconds: Math.round((performance.now() - begin) / 1000), memory_mib: service.mebibytes() })}\n`);
}, 5000);
const telling = setInterval(() => console.log(clock()), 30_000);
for (let n = 0; n < options.visits; n++) {
    visits.push(visit(n));
    await pause(Math.max(0, (n + 1) * options.seconds * 1000 / options.visits - (performance.now() - begin)));
}
await Promise.all(visits);
clearInterval(telling);
clearInterval(noting);
console.log(clock());
service.figures();
process.exit();
