using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace PyramidFlow.Hosting;

/// <summary>Registers the pipeline of a host.</summary>
public static class PyramidFlowServices
{
    /// <summary>Name of the health check.</summary>
    public const string HealthCheck = "pyramidflow";

    /// <summary>
    /// Registers <see cref="IPipelineSource"/> and the health check <see cref="HealthCheck"/>. Options come from the section <c>PyramidFlow</c> of the configuration and then from
    /// <paramref name="configure"/>; impossible ones end the start of the host with one sentence. Traces and metrics are those of <see cref="Generation.GenerationTelemetry"/>.
    /// </summary>
    /// <param name="services">Services of the host.</param>
    /// <param name="configure">Changes the options.</param>
    public static IServiceCollection AddPyramidFlow(this IServiceCollection services, Action<PyramidFlowOptions>? configure = null)
    {
        var options = services.AddOptions<PyramidFlowOptions>().BindConfiguration(PyramidFlowOptions.Section);
        return services.Add(configure is null ? options : options.Configure(configure));
    }

    /// <summary>Does the same with options from another section.</summary>
    /// <param name="services">Services of the host.</param>
    /// <param name="section">A section with the properties of <see cref="PyramidFlowOptions"/>.</param>
    public static IServiceCollection AddPyramidFlow(this IServiceCollection services, IConfiguration section) =>
        services.Add(services.AddOptions<PyramidFlowOptions>().Bind(section));

    private static IServiceCollection Add(this IServiceCollection services, OptionsBuilder<PyramidFlowOptions> options)
    {
        options.ValidateOnStart();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<PyramidFlowOptions>, PyramidFlowOptionsCheck>());
        if (services.Any(service => service.ServiceType == typeof(PipelineSource)))
            return services;
        services.AddSingleton<PipelineSource>();
        services.AddSingleton<IPipelineSource>(provider => provider.GetRequiredService<PipelineSource>());
        services.AddHostedService(provider => provider.GetRequiredService<PipelineSource>());
        services.AddHealthChecks().AddCheck<PipelineHealth>(HealthCheck);
        return services;
    }
}
