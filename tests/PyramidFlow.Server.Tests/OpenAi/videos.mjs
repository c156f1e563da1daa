// The video calls of OpenAI's client library against a server of ours: node videos.mjs URL KEY PORT, the port for webhooks
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import OpenAI, { toFile } from 'openai';

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: process.argv[3], maxRetries: 0 });
const prompt = 'a small red circle moving right on a black background';

async function finished(video) {
    while (video.status === 'queued' || video.status === 'in_progress') {
        await new Promise(done => setTimeout(done, 100));
        video = await client.videos.retrieve(video.id);
    }
    assert.equal(video.status, 'completed', JSON.stringify(video.error));
    assert.equal(video.progress, 100);
    return video;
}

const created = await client.videos.create({ prompt, model: 'sprites', size: '128x128', seconds: '0.33', num_inference_steps: 1 });
assert.equal(created.object, 'video');
assert.equal(created.status, 'queued');
assert.equal(created.error, null);
assert.match(created._request_id, /^req_/);
const video = await finished(created);
const mp4 = Buffer.from(await (await client.videos.downloadContent(video.id)).arrayBuffer());
assert.equal(mp4.subarray(4, 8).toString('latin1'), 'ftyp');
for (const variant of ['thumbnail', 'spritesheet']) {
    const response = await client.videos.downloadContent(video.id, { variant });
    assert.equal(response.headers.get('content-type'), 'image/png');
    await response.arrayBuffer();
}

const picture = Buffer.from(await (await client.videos.downloadContent(video.id, { variant: 'thumbnail' })).arrayBuffer());
const fromPicture = await finished(await client.videos.create({
    prompt, seconds: '0.33', num_inference_steps: 1, input_reference: await toFile(picture, 'first.png', { type: 'image/png' }),
}));
const fromUrl = await finished(await client.videos.create({
    prompt, seconds: '0.33', num_inference_steps: 1, input_reference: { image_url: `data:image/png;base64,${picture.toString('base64')}` },
}));
assert.ok((await (await client.videos.downloadContent(fromUrl.id, { variant: 'input' })).arrayBuffer()).byteLength > 0);
const remix = await finished(await client.videos.remix(video.id, { prompt: 'a large white star on a navy background' }));
assert.equal(remix.remixed_from_video_id, video.id);
const edited = await client.videos.edit({ prompt: 'a large white star on a navy background', video: { id: video.id } });
assert.equal(edited.remixed_from_video_id, video.id);
await client.videos.delete(edited.id);
const extension = await client.videos.extend({ prompt, seconds: '0.33', video: { id: video.id } });
const longer = await finished(extension);
assert.equal(longer.num_frames, 17);
// The length of an extension is that of the whole video, before it is made too.
assert.deepEqual([extension.seconds, extension.num_frames], [longer.seconds, 17]);
assert.equal(Number(longer.seconds), 0.7);

const listed = [];
for await (const one of client.videos.list({ limit: 2 }))
    listed.push(one.id);
assert.deepEqual(listed, [longer.id, remix.id, fromUrl.id, fromPicture.id, video.id]);

const deleted = await client.videos.delete(video.id);
assert.deepEqual(deleted, { id: video.id, object: 'video.deleted', deleted: true });
await assert.rejects(client.videos.retrieve(video.id), error => error instanceof OpenAI.NotFoundError && /no video/.test(error.message));
await assert.rejects(client.videos.create({ prompt, seconds: 'abc' }), error => error instanceof OpenAI.BadRequestError && error.param === 'seconds');
await assert.rejects(new OpenAI({ baseURL: client.baseURL, apiKey: 'pf_wrong', maxRetries: 0 }).videos.list(), OpenAI.AuthenticationError);
// A program that knows OpenAI's models only.
const { data: sora, response } = await client.videos.create({ prompt, model: 'sora-2', seconds: '4', size: '1280x720' }).withResponse();
assert.equal(sora.model, 'sprites');
assert.match(response.headers.get('x-pyramidflow-warning'), /sora-2.*1280x720/);
await client.videos.delete(sora.id);
assert.equal((await client.models.retrieve('sora-2')).id, 'sprites');
const waiting = await client.videos.create({ prompt, seconds: '4' });
await assert.rejects(client.withOptions({ maxRetries: 2 }).videos.downloadContent(waiting.id), OpenAI.ConflictError);
await client.videos.delete(waiting.id);
// OpenAI's client knows a webhook of ours by its signature.
const { secret } = await client.get('/webhooks/secret');
const announced = await new Promise(async done => {
    const receiver = createServer(async (request, answer) => {
        const body = (await request.toArray()).map(String).join('');
        answer.end(() => receiver.close());
        done({ body, headers: request.headers });
    }).listen(Number(process.argv[4]), '127.0.0.1');
    const { id } = await client.videos.create({ prompt, seconds: '0.33', num_inference_steps: 1, webhook: `http://127.0.0.1:${process.argv[4]}/hook` });
    assert.match(id, /^video_/);
});
const event = await client.webhooks.unwrap(announced.body, announced.headers, secret);
assert.equal(event.type, 'video.completed');
assert.equal((await client.videos.retrieve(event.data.id)).status, 'completed');
await assert.rejects(client.webhooks.unwrap(announced.body.replace('completed', 'failed'), announced.headers, secret), OpenAI.InvalidWebhookSignatureError);
// Stills by the images API, as bytes and as links that need no key.
const pictures = await client.images.generate({ prompt, model: 'gpt-image-2', size: '1024x1024', n: 2, quality: 'low', num_inference_steps: 1 });
assert.deepEqual(pictures.data.map(one => Buffer.from(one.b64_json, 'base64').subarray(1, 4).toString('latin1')), ['PNG', 'PNG']);
assert.notEqual(pictures.data[0].b64_json, pictures.data[1].b64_json);
const [linked] = (await client.images.generate({ prompt, response_format: 'url', num_inference_steps: 1 })).data;
const fetched = await fetch(linked.url);
assert.deepEqual([fetched.status, fetched.headers.get('content-type')], [200, 'image/png']);
await assert.rejects(client.images.generate({ prompt, output_format: 'webp' }), error => error instanceof OpenAI.BadRequestError && error.param === 'output_format');
assert.ok((await client.models.list()).data.some(model => model.id === 'sprites'));
console.log('all calls answered');
