// Functions that need a script in the browser; the server renders everything else.
(() => {
  const root = document.documentElement;
  const calm = matchMedia('(prefers-reduced-motion: reduce)');

  // Storage may be disabled: the theme then lasts as long as the page.
  let theme = 'system';
  try { theme = localStorage.getItem('theme') ?? theme; } catch { }
  const dress = () => theme === 'system' ? delete root.dataset.theme : root.dataset.theme = theme;
  dress();

  // The form survives a reload; signing out removes it.
  const kept = value => {
    try { return value === undefined ? localStorage.getItem('form') : localStorage.setItem('form', value); } catch { return null; }
  };
  // Signing out in one tab signs out in all tabs.
  if (location.pathname === '/signin') {
    kept('');
    try { localStorage.setItem('left', Date.now()); } catch { }
  } else
    addEventListener('storage', ({ key }) => key === 'left' && location.reload());

  // A file dropped or pasted anywhere is handled like a selected one.
  const give = files => {
    const input = document.getElementById('input_reference');
    if (!input || files.length === 0) return false;
    input.files = files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
    return true;
  };
  const drag = event => {
    if (!event.dataTransfer?.types.includes('Files')) return;
    event.preventDefault();
    root.classList.toggle('dragging', event.type === 'dragover');
    if (event.type === 'drop') give(event.dataTransfer.files);
  };
  addEventListener('dragover', drag);
  addEventListener('drop', drag);
  addEventListener('dragleave', event => event.relatedTarget ?? root.classList.remove('dragging'));
  addEventListener('paste', event => give(event.clipboardData.files) && event.preventDefault());

  // While the server is away nothing that is written reaches it, and the page may have to be loaded anew: the browser keeps the inputs that a
  // kept form has by name (data-keep), and gives everything that was changed to the server when it is back. Generate does nothing meanwhile.
  let away = false;
  const written = new Set();
  const note = ({ target }) => {
    if (!away || !target.matches?.('.composer :is(input, select, textarea)')) return;
    written.add(target);
    const name = target.dataset.keep;
    if (!name) return;
    try { kept(JSON.stringify({ ...JSON.parse(kept()), [name]: target.type === 'range' ? Number(target.value) : target.value })); } catch { }
  };
  addEventListener('input', note, true);
  addEventListener('change', note, true);
  addEventListener('submit', event => {
    if (!away) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  addEventListener('components-reconnect-state-changed', ({ detail }) => {
    away = detail.state !== 'hide';
    if (away) return;
    for (const input of written)
      for (const kind of ['input', 'change'])
        input.dispatchEvent(new Event(kind, { bubbles: true }));
    written.clear();
  }, true);

  // After a long outage the server has discarded the page: reload it.
  addEventListener('components-reconnect-state-changed', ({ detail }) => {
    if (detail.state === 'rejected') location.reload();
    if (detail.state === 'failed') setTimeout(async () => (await fetch('health').catch(() => null))?.ok ? location.reload() : retry(), 2000);
  }, true);
  const retry = () => document.getElementById('components-reconnect-modal')
    .dispatchEvent(new CustomEvent('components-reconnect-state-changed', { detail: { state: 'failed' } }));

  const play = video => {
    if (!calm.matches) video.play().catch(() => { /* the browser leaves it to the user */ });
  };

  // Videos side by side have one button to play and one place, which the first of them leads.
  const together = target => [...target.closest('.together').querySelectorAll('video')];
  addEventListener('click', ({ target }) => {
    const button = target.closest?.('.together [data-play]');
    if (!button) return;
    const videos = together(button), plays = button.getAttribute('aria-pressed') !== 'true';
    button.setAttribute('aria-pressed', plays);
    for (const video of videos) {
      video.loop = video === videos[0];
      video.currentTime = videos[0].ended ? 0 : videos[0].currentTime;
      if (plays) video.play().catch(() => { }); else video.pause();
    }
  });
  addEventListener('input', ({ target }) => {
    if (!target.matches?.('.together [data-place]')) return;
    const videos = together(target);
    for (const video of videos) video.currentTime = target.value * (videos[0].duration || 0);
  });
  addEventListener('timeupdate', ({ target }) => {
    if (!target.closest?.('.together')) return;
    const [first, ...others] = together(target);
    if (target !== first) return;
    target.closest('.together').querySelector('[data-place]').value = first.currentTime / (first.duration || 1);
    for (const video of others) {
      if (Math.abs(video.currentTime - Math.min(first.currentTime, video.duration || 0)) > 0.1) video.currentTime = first.currentTime;
      if (!first.paused && video.paused && first.currentTime < video.duration) video.play().catch(() => { });
    }
  }, true);

  // Reads the codec profile of the stream from its avcC box.
  const codecOf = bytes => {
    for (let i = 0; i + 7 < bytes.length; i++)
      if (bytes[i] === 0x61 && bytes[i + 1] === 0x76 && bytes[i + 2] === 0x63 && bytes[i + 3] === 0x43)
        return 'avc1.' + [...bytes.subarray(i + 5, i + 8)].map(byte => byte.toString(16).padStart(2, '0')).join('');
    return null;
  };

  // Appends fragments as they arrive; playback restarts at the end of the available part until the stream is complete.
  const feed = async (video, source, address) => {
    const reader = (await fetch(address)).body.getReader();
    let head = new Uint8Array(), buffer = null;
    for (;;) {
      const { done, value } = await reader.read();
      if (done || !video.isConnected) break;
      let piece = value;
      if (!buffer) {
        piece = new Uint8Array([...head, ...value]);
        const codec = codecOf(piece);
        if (!codec) { head = piece; continue; }
        buffer = source.addSourceBuffer(`video/mp4; codecs="${codec}"`);
      }
      const added = new Promise(resolve => buffer.addEventListener('updateend', resolve, { once: true }));
      buffer.appendBuffer(piece);
      await added;
      if (video.paused && video.played.length === 0) play(video);
    }
    await reader.cancel();
    if (source.readyState === 'open') source.endOfStream();
    video.loop = true;
  };

  window.pyramidflow = {
    theme: () => theme,
    setTheme: value => {
      theme = value;
      dress();
      try { localStorage.setItem('theme', value); } catch { }
    },
    kept: () => kept(),
    keep: form => kept(form),
    address: path => path === location.pathname || history.pushState(null, '', path),
    copy: (text, id) => navigator.clipboard ? navigator.clipboard.writeText(text).catch(() => document.getElementById(id)?.select()) : document.getElementById(id)?.select(),
    // Leaves after the response to the server has been sent.
    leave: () => { setTimeout(() => location.assign('signin?ended')); },
    focus: id => {
      const target = document.getElementById(id);
      target?.focus({ preventScroll: true });
      // An element whose top is visible is not scrolled.
      const top = target?.getBoundingClientRect().top;
      if (top < 0 || top > innerHeight * .6)
        target.scrollIntoView({ block: target.offsetHeight > innerHeight * .6 ? 'start' : 'nearest', behavior: calm.matches ? 'auto' : 'smooth' });
    },
    showFile: (id, target) => {
      const file = document.getElementById(id)?.files[0];
      if (!file) return null;
      const address = URL.createObjectURL(file);
      return new Promise(resolve => {
        const end = size => {
          URL.revokeObjectURL(address);
          resolve(size);
        };
        target.addEventListener(target.tagName === 'VIDEO' ? 'loadeddata' : 'load', () => end([target.videoWidth ?? target.naturalWidth, target.videoHeight ?? target.naturalHeight]), { once: true });
        target.addEventListener('error', () => end(null), { once: true });
        // Some browsers load nothing of a video before it is played.
        setTimeout(() => end(null), 10000);
        target.preload = 'auto';
        target.src = address;
      });
    },
    play,
    playLive: (video, address) => {
      if (!window.MediaSource) {
        video.src = address;
        play(video);
        return;
      }
      const source = new MediaSource();
      source.addEventListener('sourceopen', () => feed(video, source, address).catch(() => { video.src = address; }), { once: true });
      video.addEventListener('waiting', () => {
        const { buffered, currentTime } = video;
        if (buffered.length && currentTime >= buffered.end(buffered.length - 1) - 0.2) video.currentTime = buffered.start(0);
      });
      video.src = URL.createObjectURL(source);
    },
  };
})();
