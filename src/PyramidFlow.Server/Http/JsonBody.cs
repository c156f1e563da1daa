using System.Text.Json;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Reads a JSON body as a stream. The text at <c>input_reference</c>, or at <c>image_url</c> in it, may be large: it is
/// passed on while it is read, and replaced by an empty text. Everything else is kept, up to a limit; the caller
/// validates the JSON.
/// </summary>
/// <param name="body">The body; stays open.</param>
/// <param name="most">Maximum number of kept bytes.</param>
internal sealed class JsonBody(Stream body, int most)
{
    private const string Reference = "input_reference", Url = "image_url";
    private const int LongestKey = 128, Deepest = 64;

    private readonly byte[] buffer = new byte[1 << 16];
    private readonly MemoryStream kept = new();
    private readonly MemoryStream key = new();

    // By depth: whether the level is an object, whether a key comes next, and the current key.
    private readonly bool[] isObject = new bool[Deepest + 1];
    private readonly bool[] wantsKey = new bool[Deepest + 1];
    private readonly string?[] keys = new string?[Deepest + 1];
    private int next, end, depth;
    private bool inText, inKey, escaped;

    /// <summary>Reads the body.</summary>
    /// <param name="take">Reads the large text to its end.</param>
    /// <param name="cancellationToken">Stops the reading.</param>
    /// <returns>The body without the large text.</returns>
    /// <exception cref="JobException">The body is too large, or ends within the large text.</exception>
    public async Task<ReadOnlyMemory<byte>> ReadAsync(Func<Stream, Task> take, CancellationToken cancellationToken)
    {
        while (next < end || await FillAsync(cancellationToken).ConfigureAwait(false))
        {
            if (!Scan())
                continue;
            using var text = new Text(this);
            await take(text).ConfigureAwait(false);
            if (!text.HasEnded)
                throw new InvalidOperationException("the text was not read to its end");
        }

        return kept.GetBuffer().AsMemory(0, (int)kept.Length);
    }

    // Scans to the end of the buffer, or to the beginning of the large text, where it returns true.
    private bool Scan()
    {
        var start = next;
        while (next < end)
        {
            var letter = buffer[next++];
            if (inText)
            {
                Inside(letter);
            }
            else if (letter == '"')
            {
                inKey = wantsKey[depth];
                inText = inKey || !IsReference();
                key.SetLength(0);
                if (!inText)
                {
                    Keep(buffer.AsSpan(start, next - start));
                    return true;
                }
            }
            else
            {
                Between(letter);
            }
        }

        Keep(buffer.AsSpan(start, next - start));
        return false;
    }

    private void Inside(byte letter)
    {
        if (!escaped && letter == '"')
        {
            inText = false;
            if (inKey)
                keys[depth] = Name(key.GetBuffer().AsSpan(0, (int)key.Length));
            return;
        }

        escaped = !escaped && letter == '\\';
        if (inKey && key.Length < LongestKey)
            key.WriteByte(letter);
    }

    private void Between(byte letter)
    {
        switch (letter)
        {
            case (byte)'{' or (byte)'[':
                if (++depth > Deepest)
                    throw ServiceFault.BodyTooDeep(Deepest);
                (isObject[depth], wantsKey[depth], keys[depth]) = (letter == '{', letter == '{', null);
                break;
            case (byte)'}' or (byte)']':
                depth = Math.Max(0, depth - 1);
                break;
            case (byte)',':
                wantsKey[depth] = isObject[depth] && depth > 0;
                break;
            case (byte)':':
                wantsKey[depth] = false;
                break;
        }
    }

    private bool IsReference() => isObject[1] && keys[1] == Reference && (depth == 1 || (depth == 2 && isObject[2] && keys[2] == Url));

    private void Keep(ReadOnlySpan<byte> bytes)
    {
        if (kept.Length + bytes.Length > most)
            throw ServiceFault.BodyTooLarge(most);
        kept.Write(bytes);
    }

    private async ValueTask<bool> FillAsync(CancellationToken cancellationToken)
    {
        (next, end) = (0, await body.ReadAsync(buffer, cancellationToken).ConfigureAwait(false));
        return end > 0;
    }

    // Null for a malformed name.
    private static string? Name(ReadOnlySpan<byte> raw)
    {
        try
        {
            var reader = new Utf8JsonReader([(byte)'"', .. raw, (byte)'"']);
            return reader.Read() ? reader.GetString() : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    // The large text without escapes, up to its closing quote. Characters beyond ASCII become question marks: data URLs have none.
    private sealed class Text(JsonBody owner) : ReadOnlyStream
    {
        public bool HasEnded { get; private set; }

        public override async ValueTask<int> ReadAsync(Memory<byte> target, CancellationToken cancellationToken = default)
        {
            if (HasEnded || target.Length == 0)
                return 0;
            await NeedAsync(cancellationToken).ConfigureAwait(false);
            if (Plain(target.Span) is > 0 and var plain)
                return plain;
            if (owner.buffer[owner.next++] == '"')
            {
                owner.Keep("\""u8);
                HasEnded = true;
                return 0;
            }

            var letter = await EscapedAsync(cancellationToken).ConfigureAwait(false);
            target.Span[0] = letter;
            return 1;
        }

        // Copies characters up to the next quote or escape.
        private int Plain(Span<byte> target)
        {
            var there = owner.buffer.AsSpan(owner.next, Math.Min(owner.end - owner.next, target.Length));
            there = there.IndexOfAny((byte)'"', (byte)'\\') is >= 0 and var special ? there[..special] : there;
            if (there.IndexOfAnyInRange((byte)0, (byte)31) >= 0)
                throw ServiceFault.ReferenceDamaged(ServiceFault.ControlCharacter);
            there.CopyTo(target);
            owner.next += there.Length;
            return there.Length;
        }

        private async ValueTask<byte> EscapedAsync(CancellationToken cancellationToken)
        {
            var letter = await NextAsync(cancellationToken).ConfigureAwait(false);
            if (letter != 'u')
            {
                return letter switch
                {
                    (byte)'"' or (byte)'\\' or (byte)'/' => letter,
                    (byte)'b' or (byte)'f' or (byte)'n' or (byte)'r' or (byte)'t' => (byte)' ',
                    _ => throw ServiceFault.ReferenceDamaged(ServiceFault.NeedlessBackslash),
                };
            }

            var code = 0;
            for (var i = 0; i < 4; i++)
            {
                var digit = (char)await NextAsync(cancellationToken).ConfigureAwait(false);
                code = (code << 4) | (char.IsAsciiHexDigit(digit) ? Convert.ToInt32(digit.ToString(), 16) : throw ServiceFault.ReferenceDamaged(ServiceFault.DigitsMissing));
            }

            return code < 128 ? (byte)code : (byte)'?';
        }

        private async ValueTask<byte> NextAsync(CancellationToken cancellationToken)
        {
            await NeedAsync(cancellationToken).ConfigureAwait(false);
            return owner.buffer[owner.next++];
        }

        private async ValueTask NeedAsync(CancellationToken cancellationToken)
        {
            if (owner.next == owner.end && !await owner.FillAsync(cancellationToken).ConfigureAwait(false))
                throw ServiceFault.ReferenceDamaged(ServiceFault.EndsTooEarly);
        }
    }
}
