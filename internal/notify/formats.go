package notify

// A Format is the form of a notification.
type Format string

const (
	JSON          Format = "json"          // the log line
	CloudEvents   Format = "cloudevents"   // version 1.0, structured mode
	Falcosidekick Format = "falcosidekick" // an alert of Falco
	Alertmanager  Format = "alertmanager"  // version 2 of its API
)

// encode returns the body of a request and its content type.
func (m *message) encode(f Format) (body []byte, contentType string, err error) {
	switch f {
	case CloudEvents:
		return m.cloudEvent()
	case Falcosidekick:
		return m.falcoAlert()
	case Alertmanager:
		return m.alerts()
	}
	return m.json(), "application/json", nil
}
