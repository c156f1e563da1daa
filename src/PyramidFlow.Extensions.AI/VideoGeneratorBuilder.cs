using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace PyramidFlow.Extensions.AI;

/// <summary>Puts middleware around a generator; what is added first is outermost.</summary>
public sealed class VideoGeneratorBuilder
{
    private readonly Func<IServiceProvider, IVideoGenerator> inner;
    private readonly List<Func<IVideoGenerator, IServiceProvider, IVideoGenerator>> layers = [];

    /// <summary>Begins with a generator.</summary>
    /// <param name="innerGenerator">The generator at the end.</param>
    public VideoGeneratorBuilder(IVideoGenerator innerGenerator)
    {
        ArgumentNullException.ThrowIfNull(innerGenerator);
        inner = _ => innerGenerator;
    }

    /// <summary>Begins with a generator that the services give.</summary>
    /// <param name="innerGeneratorFactory">Gives the generator at the end.</param>
    public VideoGeneratorBuilder(Func<IServiceProvider, IVideoGenerator> innerGeneratorFactory)
    {
        ArgumentNullException.ThrowIfNull(innerGeneratorFactory);
        inner = innerGeneratorFactory;
    }

    /// <summary>Adds a layer.</summary>
    /// <param name="generatorFactory">Gives the layer around a generator.</param>
    public VideoGeneratorBuilder Use(Func<IVideoGenerator, IVideoGenerator> generatorFactory)
    {
        ArgumentNullException.ThrowIfNull(generatorFactory);
        return Use((generator, _) => generatorFactory(generator));
    }

    /// <summary>Adds a layer that needs services.</summary>
    /// <param name="generatorFactory">Gives the layer around a generator.</param>
    public VideoGeneratorBuilder Use(Func<IVideoGenerator, IServiceProvider, IVideoGenerator> generatorFactory)
    {
        ArgumentNullException.ThrowIfNull(generatorFactory);
        layers.Add(generatorFactory);
        return this;
    }

    /// <summary>Adds options that count where a request leaves them out, or changes those it has.</summary>
    /// <param name="configure">Changes a copy of the options of each request.</param>
    public VideoGeneratorBuilder ConfigureOptions(Action<VideoGenerationOptions> configure)
    {
        ArgumentNullException.ThrowIfNull(configure);
        return Use(generator => new ConfiguringVideoGenerator(generator, configure));
    }

    /// <summary>Adds logs of begin, end, time and failure of each request.</summary>
    /// <param name="loggerFactory">Gives the logger; null takes that of the services.</param>
    public VideoGeneratorBuilder UseLogging(ILoggerFactory? loggerFactory = null) => Use((generator, services) =>
        new LoggingVideoGenerator(generator, (loggerFactory ?? services.GetService<ILoggerFactory>() ?? NullLoggerFactory.Instance).CreateLogger<LoggingVideoGenerator>()));

    /// <summary>The generator with its layers.</summary>
    /// <param name="services">What layers need; null is nothing.</param>
    public IVideoGenerator Build(IServiceProvider? services = null)
    {
        services ??= NoServices.Instance;
        var generator = inner(services);
        for (var i = layers.Count - 1; i >= 0; i--)
            generator = layers[i](generator, services) ?? throw new InvalidOperationException("a layer of the generator is null: return the generator that it was given where nothing is added");
        return generator;
    }

    private sealed class NoServices : IServiceProvider
    {
        public static NoServices Instance { get; } = new();

        public object? GetService(Type serviceType) => null;
    }
}
