using System.Globalization;

namespace PyramidFlow.Hub.Downloads;

/// <summary>Repeats what may go well the next time, with longer and longer waits.</summary>
/// <param name="options">How often and how long.</param>
internal sealed class RetryLoop(HubOptions options)
{
    private int failures;

    /// <summary>Called when a try brought something new: those before no longer count.</summary>
    internal void Progressed() => failures = 0;

    /// <summary>Runs until it goes well.</summary>
    /// <param name="attempt">One try; throws <see cref="TransientException"/> to be repeated.</param>
    /// <param name="cancel">Ends waits too.</param>
    /// <exception cref="HubException">Too many tries failed, or the server asks for a wait that is too long.</exception>
    internal async Task<T> RunAsync<T>(Func<Task<T>> attempt, CancellationToken cancel)
    {
        while (true)
        {
            TransientException fault;
            try
            {
                return await attempt().ConfigureAwait(false);
            }
            catch (TransientException e)
            {
                fault = e;
            }

            if (++failures >= options.Attempts)
                throw new HubException($"{fault.Message}, {failures} times in a row: try again later; what is there is kept", fault);
            var wait = fault.RetryAfter ?? Min(options.FirstWait * Math.Pow(2, failures - 1), options.LongestWait);
            if (wait > options.LongestWait)
                throw new HubException($"{fault.Message} and asks to wait {Text(wait)}: try again then; what is there is kept", fault);
            options.Notify?.Invoke($"{fault.Message}; again in {Text(wait)}");
            await Task.Delay(wait, options.Time, cancel).ConfigureAwait(false);
        }
    }

    private static TimeSpan Min(TimeSpan a, TimeSpan b) => a < b ? a : b;

    private static string Text(TimeSpan wait) => wait.TotalMinutes >= 2
        ? string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(wait.TotalMinutes)} minutes")
        : string.Create(CultureInfo.InvariantCulture, $"{Math.Ceiling(wait.TotalSeconds)} s");
}
