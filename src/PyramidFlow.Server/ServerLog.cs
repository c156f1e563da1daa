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
        // Its keys lie in the data folder, as readable as everything else there.
        logging.AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error);
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
