#!/usr/bin/env node
// Kills servers and workers (kill -9) at random moments while they make videos, and checks what became of each: servers behind a proxy of this program and workers share a PostgreSQL of Debian's package.
//
//   ./pyramidflow doctor                      # builds
//   node eng/service-kills.mjs --jobs 60 --kills 100 --servers 3 --workers 6 --seed 7
//
// Each video must end once, completed, and no attempt may begin before a unit that an earlier one was seen to have finished. Exit code 1 where one does.
import { spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { Agent, createServer, request } from 'node:http';
import { loadavg, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const options = { jobs: 60, kills: 100, servers: 3, workers: 6, seed: 7, frames: 49, steps: 20, pause: 2500, port: 8300, lease: 4, minutes: 40, program: join(root, 'src/PyramidFlow.Cli/bin/Release/net10.0/PyramidFlow.Cli.dll') };
for (let i = 2; i < process.argv.length; i += 2)
    options[process.argv[i].slice(2)] = isNaN(process.argv[i + 1]) ? process.argv[i + 1] : Number(process.argv[i + 1]);
const random = seeded(options.seed), folder = mkdtempSync(join(tmpdir(), 'pyramidflow-kills-')), data = join(folder, 'data');
const processes = new Map(), seen = new Map(), faults = [];
let kills = 0, killedServers = 0, checked = 0, resumed = 0, incarnations = 0, refused = 0;

const database = startDatabase();
process.on('exit', endAll);
for (const signal of ['SIGINT', 'SIGTERM'])
    process.on(signal, () => process.exit(130));
const key = command('keys', 'add', 'operator', '--admin', '--data', data).trim();
for (let i = 0; i < options.servers; i++)
    start(`server ${i}`);
for (let i = 0; i < options.workers; i++)
    start(`worker ${i}`);
const proxy = createServer(forward).listen(options.port - 1, '127.0.0.1');
const begin = performance.now(), seconds = () => ((performance.now() - begin) / 1000).toFixed(0);

const ids = [];
const submitting = (async () => {
    for (let i = 0; i < options.jobs; i++)
        ids.push((await ask('POST', '/v1/videos', { prompt: 'a small red circle moving right on a black background', num_frames: options.frames, num_inference_steps: options.steps, seed: i }, { 'idempotency-key': `job ${i}` })).id);
})();
let active = options.jobs, states = { completed: [], failed: [] };
const watching = (async () => {
    while (active > 0 && performance.now() - begin < options.minutes * 60_000) {
        const { data: videos } = await ask('GET', '/v1/admin/videos?limit=100');
        videos.forEach(look);
        states = { completed: videos.filter(video => video.status === 'completed'), failed: videos.filter(video => video.status === 'failed') };
        active = options.jobs - states.completed.length - states.failed.length;
        await pause(150);
    }
})();
const told = setInterval(() => console.log(`${seconds()} s: ${kills} kills, ${options.jobs - active} of ${options.jobs} videos have ended, load ${loadavg()[0].toFixed(0)}`), 30_000);
const names = [...processes.keys()];
while (kills < options.kills && active > 0) {
    await pause(options.pause * (0.2 + 1.6 * random()));
    if (active === 0)
        break;
    // On a busy machine processes need long to start: they are killed no faster than half of them are at work.
    while (names.filter(isReady).length < names.length / 2 && active > 0)
        await pause(200);
    const name = names[Math.floor(random() * names.length)];
    processes.get(name).kill('SIGKILL');
    kills++;
    killedServers += name.startsWith('server') ? 1 : 0;
    start(name);
}
await submitting;
await watching;
clearInterval(told);

const made = new Map();
for (const log of readdirSync(folder).filter(name => name.startsWith('worker')))
    for (const [, id] of readFileSync(join(folder, log), 'utf8').matchAll(/(video_[0-9a-f]{32}): made in/g))
        made.set(id, (made.get(id) ?? 0) + 1);
for (const [id, times] of made)
    if (times > 1)
        faults.push(`${id} was completed ${times} times`);
for (const video of states.failed)
    faults.push(`${video.id} failed: ${video.error.message}`);
if (active > 0 || new Set(ids).size !== options.jobs)
    faults.push(`${active} videos have not ended, ${new Set(ids).size} of ${options.jobs} were accepted`);
const attempts = [...seen.values()].map(video => video.attempt);
console.log(`${options.jobs} videos of ${options.frames} frames, ${kills} kills (${killedServers} of servers, seed ${options.seed}), ${options.servers} servers, ${options.workers} workers, ${seconds()} s, load ${loadavg()[0].toFixed(0)}: `
    + `${states.completed.length} completed, ${states.failed.length} failed; ${attempts.filter(attempt => attempt > 1).length} begun more than once, at most ${Math.max(...attempts)} times; `
    + `${checked} later attempts seen at work, ${resumed} of them after a finished unit; ${refused} requests sent again by the proxy; ${faults.length} faults`);
faults.forEach(fault => console.log(fault));
process.exit(faults.length > 0 ? 1 : 0);

// What an attempt begins with is compared with what was seen of earlier ones; between two looks they may have finished more.
function look(video) {
    const known = seen.get(video.id) ?? { attempt: 0, finished: 0, before: 0, isChecked: true };
    if (video.attempt > known.attempt)
        Object.assign(known, { attempt: video.attempt, before: known.finished, isChecked: video.attempt === 1 });
    if (!known.isChecked && ['denoising', 'decoding'].includes(video.stage?.phase)) {
        known.isChecked = true;
        checked++;
        const from = (video.resumed_from_unit ?? 1) - 1;
        resumed += from > 0 ? 1 : 0;
        if (from < known.before)
            faults.push(`${video.id}: attempt ${video.attempt} begins with unit ${from} though ${known.before} were finished`);
    }
    known.finished = Math.max(known.finished, video.finished_units);
    seen.set(video.id, known);
}

function isReady(name) {
    return /^(listening on|waiting for videos)/m.test(readFileSync(processes.get(name).log, 'utf8'));
}

function start(name) {
    const [kind, number] = name.split(' ');
    const own = kind === 'server' ? ['serve', '--no-worker', '--port', String(options.port + Number(number)), '--max-connections-per-address', '2000'] : ['worker', '--threads', '1'];
    const path = join(folder, `${kind}-${number}-${incarnations++}.log`), log = openSync(path, 'w');
    processes.set(name, Object.assign(spawn('dotnet', [options.program, ...own, '--model', join(root, 'models/sprites'), '--data', data, '--database', database, '--lease', String(options.lease)],
        { stdio: ['ignore', log, log], env: { ...process.env, OMP_WAIT_POLICY: 'passive', PYRAMIDFLOW_MODELS: '' } }), { log: path }));
    closeSync(log);
}

// One server after another is tried until one answers.
async function forward(incoming, outgoing) {
    const body = await bytesOf(incoming);
    const agent = new Agent({ keepAlive: false });
    const first = Math.floor(Math.random() * options.servers);
    for (let i = 0; ; i++) {
        try {
            const answer = await new Promise((done, fail) => request({ agent, host: '127.0.0.1', port: options.port + (first + i) % options.servers, method: incoming.method, path: incoming.url, headers: incoming.headers, timeout: 20_000 }, done)
                .on('error', fail).on('timeout', function () { this.destroy(new Error('no answer')); }).end(body));
            const bytes = await bytesOf(answer);
            outgoing.writeHead(answer.statusCode, answer.headers);
            outgoing.end(bytes);
            return;
        } catch {
            refused++;
            await pause(100);
        }
    }
}

async function bytesOf(stream) {
    const pieces = [];
    for await (const piece of stream)
        pieces.push(piece);
    return Buffer.concat(pieces);
}

// Until it is answered: 503 says that the database cannot be reached at the moment.
async function ask(method, path, body, headers = {}) {
    while (true) {
        const response = await fetch(`http://127.0.0.1:${options.port - 1}${path}`, { method, body: body && JSON.stringify(body), headers: { ...headers, authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) } });
        const answer = await response.json();
        if (response.ok)
            return answer;
        if (response.status !== 503)
            throw new Error(`${method} ${path}: ${response.status} ${answer.detail}`);
        await pause(200);
    }
}

function command(...args) {
    const run = spawnSync('dotnet', [options.program, ...args], { encoding: 'utf8' });
    if (run.status !== 0)
        throw new Error(run.stderr);
    return run.stdout;
}

// It refuses to run as root.
function asUser(program, ...args) {
    const [first, ...rest] = process.getuid() === 0 ? ['runuser', '-u', 'postgres', '--', program, ...args] : [program, ...args];
    const run = spawnSync(first, rest, { cwd: '/', stdio: 'ignore' });
    if (run.status !== 0)
        throw new Error(`${program} ended with ${run.status}`);
}

function programOf(name) {
    const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql').sort() : [];
    if (versions.length === 0)
        throw new Error('PostgreSQL is not installed: apt-get install postgresql');
    return join('/usr/lib/postgresql', versions.at(-1), 'bin', name);
}

function startDatabase() {
    const own = mkdtempSync(join(tmpdir(), 'pyramidflow-pg-'));
    if (process.getuid() === 0)
        spawnSync('chown', ['postgres', own]);
    asUser(programOf('initdb'), '--pgdata', join(own, 'data'), '--auth', 'trust', '--username', 'postgres', '--no-sync', '--encoding', 'UTF8', '--locale', 'C');
    asUser(programOf('pg_ctl'), '--pgdata', join(own, 'data'), '--wait', '--silent', '--log', join(own, 'log'), '--options', `-k ${own} -c listen_addresses='' -c fsync=off -c max_connections=300`, 'start');
    return `Host=${own};Username=postgres;Database=postgres`;
}

function endAll() {
    processes.forEach(each => each.kill('SIGKILL'));
    const own = /Host=([^;]+)/.exec(database)?.[1];
    asUser(programOf('pg_ctl'), '--pgdata', join(own, 'data'), '--wait', '--silent', '--mode', 'immediate', 'stop');
    rmSync(own, { recursive: true, force: true });
    if (faults.length === 0)
        rmSync(folder, { recursive: true, force: true });
    else
        console.log(`the logs are in ${folder}`);
}

// Mulberry32: the same moments for the same seed.
function seeded(seed) {
    return () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}
