package notify

import (
	"encoding/json"
	"net/url"
	"time"
)

// cloudEvent returns the message as an event of CloudEvents 1.0 in the JSON format, whose data
// is that of the format JSON. Attempts to send it again have the same id.
//
// https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
func (m *message) cloudEvent() ([]byte, string, error) {
	body, err := json.Marshal(struct {
		SpecVersion     string          `json:"specversion"`
		ID              string          `json:"id"`
		Source          string          `json:"source"`
		Type            string          `json:"type"`
		Subject         string          `json:"subject,omitempty"`
		Time            time.Time       `json:"time"`
		DataContentType string          `json:"datacontenttype"`
		Data            json.RawMessage `json:"data"`
	}{
		"1.0", m.id, "/cryptnono/" + url.PathEscape(m.line.Node), "com.github.cryptnono.verdict", m.line.where(), m.line.Time,
		"application/json", m.json(),
	})
	return body, "application/cloudevents+json; charset=UTF-8", err
}
