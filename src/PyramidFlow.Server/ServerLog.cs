using Microsoft.Extensions.Logging.Console;

namespace PyramidFlow.Server;

/// <summary>One line for each event, on standard error.</summary>
internal static class ServerLog
{
    public static void Configure(ILoggingBuilder logging, Action<ILoggingBuilder>? instead)
    {
        logging.ClearProviders();
        logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning);
        logging.AddFilter("Microsoft.Hosting", LogLevel.Warning);
        if (instead is not null)
        {
            instead(logging);
            return;
        }

        logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss ";
            console.ColorBehavior = LoggerColorBehavior.Disabled;
        });
        logging.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }
}
