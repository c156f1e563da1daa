// The client that openapi-fetch makes of the types of openapi-typescript: the compiler checks fields, words and answers.
import createClient from 'openapi-fetch';
import type { paths, components } from './service.js';

const [url, key] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const { data: video } = await client.POST('/v1/videos', {
    body: { prompt: 'a small red circle', seed: 7, num_frames: 9, steps: [1, 1, 1], solver: 'euler', prompts: [{ from: 0.2, prompt: 'a star' }] },
});
const status: 'queued' | 'in_progress' | 'completed' | 'failed' | undefined = video?.status;
expect(status === 'queued' && video?.num_frames === 9 && video.error === null, 'the video');
const { data: list } = await client.GET('/v1/videos', { params: { query: { limit: 1, order: 'desc' } } });
const first: components['schemas']['VideoObject'] | undefined = list?.data[0];
expect(first?.id === video?.id, 'the list');
const { error } = await client.GET('/v1/videos/{id}', { params: { path: { id: 'video_none' } } });
expect(error?.status === 404 && error.error.reason === 'video_unknown', 'the refusal');
// @ts-expect-error: this is no word of the status
expect(video?.status !== 'gone', 'the status');

function expect(holds: boolean, what: string): void {
    if (!holds)
        throw new Error(`openapi-fetch: ${what} is not as expected`);
}
