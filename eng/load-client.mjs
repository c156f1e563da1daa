// What the programs that put a service under load share: options, requests that are timed, memory and figures.
import { readFileSync } from 'node:fs';

// Options of the command line over those given; only a service on this machine is put under load.
export function optionsOf(options) {
    for (let i = 2; i < process.argv.length; i += 2)
        options[process.argv[i].slice(2)] = isNaN(process.argv[i + 1]) ? process.argv[i + 1] : Number(process.argv[i + 1]);
    if (!['127.0.0.1', 'localhost', '[::1]'].includes(new URL(options.url).hostname))
        throw new Error('only a service on this machine is put under load');
    return options;
}

export const prompt = 'a small red circle moving right on a black background';

// A service under load: what its answers took is kept by name.
export class Service {
    times = new Map();

    constructor({ url, pid }) {
        Object.assign(this, { url, pid });
    }

    // An answer, as JSON or as it is; what is refused is an error.
    async timed(name, method, path, body) {
        const start = performance.now();
        const form = body instanceof FormData;
        const response = await fetch(this.url + path, { method, body: form || !body ? body : JSON.stringify(body), headers: body && !form ? { 'content-type': 'application/json' } : {} });
        const answer = response.headers.get('content-type')?.includes('json') ? await response.json() : await response.arrayBuffer();
        if (!this.times.has(name))
            this.times.set(name, []);
        this.times.get(name).push(performance.now() - start);
        if (!response.ok)
            throw new Error(`${method} ${path}: ${response.status} ${answer.detail}`);
        return answer;
    }

    submit(name, body) {
        return this.timed(name, 'POST', '/v1/videos', body);
    }

    // Reads a video's events until they end or it is stopped; gives each piece of text.
    async listen(id, signal, piece) {
        try {
            const response = await fetch(`${this.url}/v1/videos/${id}/events`, { signal });
            for await (const bytes of response.body)
                piece(Buffer.from(bytes).toString());
        } catch (error) {
            if (!signal.aborted)
                throw error;
        }
    }

    // MiB that the server has in memory; empty without a process id.
    memory() {
        return this.pid ? `, memory ${this.mebibytes()} MiB` : '';
    }

    mebibytes() {
        return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, 'utf8'))[1]) / 1024);
    }

    figures() {
        for (const [name, list] of this.times) {
            const sorted = list.toSorted((a, b) => a - b);
            const at = share => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1);
            console.log(`${name}: ${sorted.length} requests, p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms`);
        }
    }
}
